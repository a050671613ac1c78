import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeChange, type Log, type Sealer } from '@countersign/cluster';
import {
  lastUsernames,
  listDocuments,
  type Applied,
  type Database,
  type DocumentRow,
} from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import { sealerOf } from '@countersign/operations';
import type { AgentEvents } from './events.ts';

const FOLDER = 'dropped';
const BATCH = 500;
const MAX_NAMED = 5;

export type DroppedChange = {
  revision: number;
  kind: string;
  id: string;
  /** For people: the user's or node's name where it has one. */
  name: string;
  removed: boolean;
  at: string;
  actor: string;
  commandId: string | null;
};

/** The changes of this replica from `fromRevision` on: what giving up its history would drop. */
export async function listChangesSince(
  db: Database,
  sealer: Sealer,
  fromRevision: number,
): Promise<{ changes: DroppedChange[]; rows: DocumentRow[] }> {
  const rows: DocumentRow[] = [];
  for (;;) {
    const after = rows.at(-1) ?? null;
    const options = { after, limit: BATCH, sinceRevision: fromRevision, withRemoved: true };
    const batch = await listDocuments(db, options);
    rows.push(...batch);
    if (batch.length < BATCH) break;
  }
  rows.sort((a, b) => a.revision - b.revision);
  const gone = rows.filter(({ kind, removed }) => kind === 'user' && removed);
  const names = await lastUsernames(
    db,
    gone.map(({ id }) => id),
  );
  return { rows, changes: rows.map((row) => describeRow(row, sealer, names)) };
}

/** A removal says nothing of what it removes: `names` are those that users had. */
function describeRow(
  row: DocumentRow,
  sealer: Sealer,
  names: ReadonlyMap<string, string>,
): DroppedChange {
  const { revision, kind, id, removed } = row;
  const change = decodeChange(row.bytes, sealer);
  const document = (change.document ?? {}) as { username?: string; name?: string };
  const name = document.username ?? document.name ?? names.get(id) ?? id;
  return {
    revision,
    kind,
    id,
    name,
    removed,
    at: change.at,
    actor: change.actor,
    commandId: change.commandId,
  };
}

/**
 * Keeps changes that leave this replica, one JSON line each with the encrypted message, in a file only its owner
 * reads. The same changes make the same file. Returns its path.
 */
export async function saveChanges(options: {
  db: Database;
  sealer: Sealer;
  dataDirectory: string;
  incarnationNumber: number;
  fromRevision: number;
}): Promise<{ file: string; changes: DroppedChange[] }> {
  const { rows, changes } = await listChangesSince(
    options.db,
    options.sealer,
    options.fromRevision,
  );
  const folder = join(options.dataDirectory, FOLDER);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const last = changes.at(-1)?.revision ?? options.fromRevision;
  const name = `incarnation-${options.incarnationNumber}-changes-${options.fromRevision}-${last}.jsonl`;
  const file = join(folder, name);
  const lines = changes.map((change, index) =>
    JSON.stringify({ ...change, message: rows[index]!.bytes.toString('base64') }),
  );
  writeFileSync(`${file}.tmp`, lines.map((line) => `${line}\n`).join(''), { mode: 0o600 });
  renameSync(`${file}.tmp`, file);
  return { file, changes };
}

/** What leaves this replica is kept in a file, and named by status until somebody moves that away. */
export async function keepDiverged(options: {
  config: { dataDirectory: string };
  keys: { document: PurposeKey };
  db: Database;
  events: AgentEvents;
  log: Log;
  from: number;
  applied: Applied;
}): Promise<void> {
  const { config, keys, db, events, log, from, applied } = options;
  const { changes, file } = await saveChanges({
    db,
    sealer: sealerOf(keys.document),
    dataDirectory: config.dataDirectory,
    incarnationNumber: applied.incarnation.number,
    fromRevision: from,
  });
  const details = { fromRevision: from, revision: applied.revision, changes: changes.length, file };
  log.warn(details, 'changes are dropped');
  events.diverged(details);
}

/** One line for each file of saved changes that nobody has moved away yet. */
export function describeSavedChanges(dataDirectory: string): string[] {
  const folder = join(dataDirectory, FOLDER);
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
  } catch {
    return [];
  }
  return names.toSorted().map((name) => {
    const file = join(folder, name);
    const changes = readFileSync(file, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as DroppedChange);
    return `changes ${describeChanges(changes)} were not in the cluster's history: look at ${file}, then move it away`;
  });
}

/** e.g. `111-130 (user alice, user bob and 3 more)`. */
export function describeChanges(changes: readonly DroppedChange[]): string {
  if (changes.length === 0) return 'none';
  const named = changes.slice(0, MAX_NAMED).map(({ kind, name }) => `${kind} ${name}`);
  const more = changes.length > MAX_NAMED ? ` and ${changes.length - MAX_NAMED} more` : '';
  return `${changes[0]!.revision}-${changes.at(-1)!.revision} (${named.join(', ')}${more})`;
}
