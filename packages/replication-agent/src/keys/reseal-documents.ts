import { setTimeout as sleep } from 'node:timers/promises';
import { decodeChange, sealedPartOf, type Log, type Sealer } from '@countersign/cluster';
import {
  countAllDocuments,
  listDocuments,
  readDocuments,
  readSettings,
  recentResultsOf,
  type Database,
  type DocumentRow,
} from '@countersign/database';
import { sealedUnder, type PurposeKey } from '@countersign/keys';
import type { Settings } from '@countersign/verification';
import { v7 as uuidv7 } from 'uuid';
import type { ChangePipeline } from '../change-pipeline.ts';
import type { Mastership } from '../mastership.ts';
import { resealDocument, type SecretKeys } from './reseal-document.ts';

export type ResealingOptions = {
  node: string;
  db: Database;
  sealer: Sealer;
  keys: SecretKeys & Record<'document', PurposeKey>;
  baseRevision: number;
  mastership: Pick<Mastership, 'pipeline' | 'lane'>;
  log: Log;
};

/** What is known of a pass while it runs. */
export type ResealProgress = { seen: number; of: number; written: number };

/** Looked at in one go. */
const LOOK_AT_ONCE = 256;
/** Written in one go: while that many are on their way, commands wait. */
const SLICE = 32;
const DEADLINE_MS = 10_000;
const KEPT_RESULTS = 16;
/** Read by whoever follows before it can have the new generation. */
const KEPT_KIND = 'key-ring';

/**
 * One pass over all documents, tombstones too: whatever is sealed under another generation than the active one, as a
 * whole or with a secret in it, is written anew as it is. As long again as a slice takes belongs to everybody else.
 * Null when it could not be finished: a later pass, by this master or the next, writes what is left.
 */
export async function resealDocuments(
  options: ResealingOptions,
  { signal, onProgress }: { signal: AbortSignal; onProgress(progress: ResealProgress): void },
): Promise<ResealProgress | null> {
  const { db } = options;
  const progress = { seen: 0, of: await countAllDocuments(db), written: 0 };
  let after: DocumentRow | null = null;
  for (;;) {
    const { settings } = await readSettings(db);
    const rows: DocumentRow[] = await listDocuments(db, {
      after,
      limit: LOOK_AT_ONCE,
      withRemoved: true,
      withProbes: true,
    });
    const left = rows.filter((row) => resealed(row, options, settings) !== null);
    for (let from = 0; from < left.length; from += SLICE) {
      if (signal.aborted) return null;
      const startedAt = performance.now();
      const written = await writeSlice(left.slice(from, from + SLICE), options);
      if (written === null) return null;
      progress.written += written;
      await sleep(performance.now() - startedAt, undefined, { signal }).catch(() => undefined);
    }
    progress.seen += rows.length;
    onProgress({ ...progress });
    after = rows.at(-1) ?? null;
    if (rows.length < LOOK_AT_ONCE) return progress;
    if (signal.aborted) return null;
    // The lease is renewed in between.
    await sleep(1);
  }
}

/** How many were written; null if nothing can be written now, or not all of it certainly was. */
async function writeSlice(
  slice: readonly DocumentRow[],
  options: ResealingOptions,
): Promise<number | null> {
  const { mastership } = options;
  const { pipeline } = mastership;
  if (!pipeline?.isOpen) return null;
  const deadline = performance.now() + DEADLINE_MS;
  const done = await mastership.lane.run({ touched: 'everything', pipeline, deadline }, () =>
    writeInTurn(slice, options, pipeline),
  );
  return done && done.isWhole ? done.count : null;
}

async function writeInTurn(
  slice: readonly DocumentRow[],
  options: ResealingOptions,
  pipeline: ChangePipeline,
): Promise<{ lastRevision: number; count: number; isWhole: boolean }> {
  const { node, db, baseRevision } = options;
  // As they are now that nobody else changes them.
  const [rows, results, { settings }] = await Promise.all([
    readDocuments(db, slice),
    recentResultsOf(db, slice, KEPT_RESULTS),
    readSettings(db),
  ]);
  const sent = rows.flatMap((row) => {
    const change = resealed(row, options, settings);
    if (!change) return [];
    const entry = {
      changeId: uuidv7(),
      commandId: null,
      kind: row.kind,
      id: row.id,
      at: new Date().toISOString(),
      actor: `node ${node}`,
      removed: row.removed,
      document: change.document,
      // A repeat of what was done to it gets its first result as before.
      commands: results.get(`${row.kind} ${row.id}`) ?? [],
    };
    return [pipeline.append(entry, 'bulk')];
  });
  const sequences = await Promise.all(sent);
  const stored = sequences.filter((sequence) => sequence !== null);
  return {
    lastRevision: stored.length === 0 ? 0 : Math.max(...stored) + baseRevision,
    count: stored.length,
    isWhole: stored.length === sequences.length,
  };
}

/** The document as it should stand; null where it does, or cannot be read. */
function resealed(
  row: DocumentRow,
  { sealer, keys, log }: ResealingOptions,
  settings: Settings,
): { document: unknown } | null {
  if (row.kind === KEPT_KIND) return null;
  try {
    const { document } = decodeChange(row.bytes, sealer);
    const after = row.removed
      ? document
      : resealDocument({ kind: row.kind, document }, keys, settings);
    const isOld = sealedUnder(sealedPartOf(row.bytes)) !== keys.document.keyId;
    return isOld || after !== document ? { document: after } : null;
  } catch (error) {
    // The examination of the tables says more of it.
    const { kind, id } = row;
    log.warn({ kind, id, error: String(error) }, 'a document cannot be brought under the new key');
    return null;
  }
}
