import { createHash } from 'node:crypto';
import { fillReadModels } from './fill-read-models.ts';
import { jsonText } from './json-text.ts';
import { useNextTables } from './next-tables.ts';
import type { Database, Transaction } from './open-database.ts';
import { selectApplied } from './read-applied.ts';
import type { Applied } from './read-applied.ts';
import { recordCommands } from './record-commands.ts';

export type ChangeKind =
  | 'user'
  | 'settings'
  | 'application'
  | 'api-key'
  | 'administrator'
  | 'node'
  | 'job'
  | 'authority'
  | 'members'
  | 'join-token'
  | 'key-ring'
  | 'directory'
  | 'directory-sync'
  | 'radius-client'
  | 'radius-target'
  | 'epoch'
  | 'probe'
  | 'seal';

/** One message of the change log, opened and parsed. */
export type ReceivedChange = {
  revision: number;
  epoch: number;
  kind: ChangeKind;
  id: string;
  /** ISO time, by the clock of the master that wrote it. */
  at: string;
  removed: boolean;
  /** The message as received. */
  bytes: Buffer;
  /** The document, valid for its kind; null in a tombstone, an epoch and a probe. */
  document: unknown;
  /** Results of the last 10 minutes' commands on this document. */
  commands: ReceivedCommand[];
  /** On the last message of a barrier: where that barrier began. */
  epochFirstRevision?: number;
};

export type ReceivedCommand = {
  commandId: string;
  contentHash: string;
  at: string;
  result: Record<string, unknown>;
};

export class ApplyError extends Error {
  override readonly name = 'ApplyError';
}

/** What {@link readSettings} reads. */
const SETTINGS_KINDS = new Set<ChangeKind>([
  'settings',
  'application',
  'directory',
  'radius-client',
  'radius-target',
]);

/** The changes a caller should gather at most for one call. */
export const APPLY_BATCH_MAX = 500;

/**
 * Applies changes in one transaction with the replica's position and digest. The digest is the
 * XOR of {@link hashDocument} over all documents, tombstones included; the result does not
 * depend on how a run of changes is cut into batches. Revisions may have gaps (a compacted log).
 * @throws ApplyError when the first revision was applied before, or revisions do not increase
 */
export async function applyChanges(
  db: Database,
  changes: readonly ReceivedChange[],
  options: {
    /** The log's end when catching up began. */
    horizon?: number;
    changeFormat?: number;
    /** Into the tables that are being filled for the next incarnation. */
    intoNext?: boolean;
  } = {},
): Promise<Applied> {
  const { first, last } = checkChanges(changes);
  const newest = newestOfEach(changes);
  return db.transaction(async (tx) => {
    if (options.intoNext) await useNextTables(tx);
    const before = await lockPosition(tx);
    if (first.revision <= before.revision) {
      throw new ApplyError(`revision ${first.revision} came after ${before.revision} was applied`);
    }
    // Sent at once down the one connection, so that a change waits once and not five times.
    const [hashes] = await Promise.all([
      writeDocuments(tx, newest),
      fillReadModels(tx, newest),
      recordEpochs(tx, changes),
      recordCommands(tx, changes),
    ]);
    await tx`
      update applied set
        revision = ${last.revision},
        epoch = greatest(epoch, ${newestEpoch(changes)}),
        digest = decode(${xorHex([before.digest, ...hashes])}, 'hex'),
        horizon = greatest(horizon, ${options.horizon ?? 0}),
        settings_revision = greatest(settings_revision, ${newestSettings(changes)}),
        change_format = greatest(change_format, ${options.changeFormat ?? 0}),
        is_filled = is_filled or ${last.revision} >= greatest(horizon, ${options.horizon ?? 0}),
        applied_at = now()`;
    return selectApplied(tx);
  });
}

/** SHA-256 of kind, id, revision and the message as received, in hex. */
export function hashDocument(change: Pick<ReceivedChange, 'kind' | 'id' | 'revision' | 'bytes'>) {
  const hash = createHash('sha256').update(`${change.kind}\0${change.id}\0${change.revision}\0`);
  return hash.update(change.bytes).digest('hex');
}

function checkChanges(changes: readonly ReceivedChange[]) {
  const [first, last] = [changes[0], changes.at(-1)];
  if (!first || !last) throw new ApplyError('there is nothing to apply');
  for (const [index, change] of changes.entries()) {
    const before = changes[index - 1];
    if (before && change.revision <= before.revision) {
      throw new ApplyError(`revision ${change.revision} came after ${before.revision}`);
    }
    const hasDocument = change.document !== null && change.document !== undefined;
    const needsDocument = !change.removed && change.kind !== 'epoch' && change.kind !== 'probe';
    if (needsDocument && !hasDocument) {
      throw new ApplyError(`revision ${change.revision} (${change.kind}) has no document`);
    }
  }
  return { first, last };
}

function newestOfEach(changes: readonly ReceivedChange[]): ReceivedChange[] {
  return [...new Map(changes.map((change) => [`${change.kind}\0${change.id}`, change])).values()];
}

async function lockPosition(tx: Transaction): Promise<{ revision: number; digest: string }> {
  const [row] = await tx<{ revision: number; digest: string }[]>`
    select revision, encode(digest, 'hex') as digest from applied for update`;
  if (!row) throw new ApplyError('the replica belongs to no incarnation yet');
  return row;
}

/** Returns the hashes that enter and leave the digest. */
export async function writeDocuments(
  tx: Transaction,
  changes: ReceivedChange[],
): Promise<string[]> {
  const rows = changes.map((change) => ({
    kind: change.kind,
    id: change.id,
    revision: change.revision,
    epoch: change.epoch,
    removed: change.removed,
    bytes: change.bytes.toString('base64'),
    hash: hashDocument(change),
  }));
  const replaced = await tx<{ hash: string }[]>`
    with input as (
      select * from jsonb_to_recordset(${jsonText(rows)}::text::jsonb) as input(
        kind text, id text, revision bigint, epoch bigint, removed boolean, bytes text, hash text)
    ), written as (
      insert into documents (kind, id, revision, epoch, removed, bytes, hash)
      select kind, id, revision, epoch, removed, decode(bytes, 'base64'), decode(hash, 'hex')
      from input
      on conflict (kind, id) do update set
        revision = excluded.revision, epoch = excluded.epoch, removed = excluded.removed,
        bytes = excluded.bytes, hash = excluded.hash
    )
    select encode(d.hash, 'hex') as hash from documents d join input using (kind, id)`;
  return [...replaced, ...rows].map((row) => row.hash);
}

async function recordEpochs(tx: Transaction, changes: readonly ReceivedChange[]): Promise<void> {
  const rows = changes
    .filter((change) => change.epochFirstRevision !== undefined)
    .map((change) => ({ epoch: change.epoch, first_revision: change.epochFirstRevision }));
  if (rows.length === 0) return;
  await tx`
    insert into epochs (epoch, first_revision)
    select epoch, first_revision from jsonb_to_recordset(${jsonText(rows)}::text::jsonb)
      as input(epoch bigint, first_revision bigint)
    on conflict (epoch) do nothing`;
}

function newestEpoch(changes: readonly ReceivedChange[]): number {
  const complete = changes.filter((change) => change.epochFirstRevision !== undefined);
  return Math.max(0, ...complete.map((change) => change.epoch));
}

/** Whether a change of this kind makes settings that are kept in memory out of date. */
export function isSettingsKind(kind: ChangeKind): boolean {
  return SETTINGS_KINDS.has(kind);
}

function newestSettings(changes: readonly ReceivedChange[]): number {
  const newest = changes.findLast(({ kind }) => isSettingsKind(kind));
  return newest?.revision ?? 0;
}

/** The digest of documents with these hashes. */
export function xorHex(hashes: string[]): string {
  const sum = hashes.reduce((total, hash) => total ^ BigInt(`0x${hash}`), 0n);
  return sum.toString(16).padStart(64, '0');
}
