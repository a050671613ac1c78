import { randomUUID } from 'node:crypto';
import {
  finishRestore,
  xorHex,
  isSettingsKind,
  restoreDocuments,
  restoreEvents,
  restoreReservations,
  restoreStopFacts,
  restoreUserStates,
  type ChangeKind,
  type Database,
} from '@countersign/database';
import type { KeyRing } from '@countersign/keys';
import { readBackup, type BackupSummary } from './read-backup.ts';
import type { OpenWith } from './secrets.ts';

/**
 * What belongs to the cluster that is gone: its machines and who they were, mails that waited, what was said about the
 * log itself.
 */
const LEFT_BEHIND = new Set<ChangeKind>([
  'node',
  'authority',
  'members',
  'join-token',
  'job',
  'epoch',
  'probe',
  'seal',
]);

/**
 * Fills an empty database with what a backup holds. `prepare` opens it, migrated; it is asked once the backup was opened
 * and said which keys its cluster has, and before that nothing was touched. It stands then as a replica of an incarnation that nobody
 * else knows, so that no node of the old cluster takes this one for its own; the log is rebuilt out of it. `restoredAt`:
 * codes made before it count as used (security rule 30). Whatever fails leaves a database that is no replica.
 * @throws BackupError as {@link readBackup}
 */
export async function restoreDatabase(options: {
  path: string;
  secret: OpenWith;
  restoredAt: Date;
  prepare(keys: KeyRing): Promise<Database>;
}): Promise<BackupSummary> {
  const { path, secret, restoredAt } = options;
  const database = Promise.withResolvers<Database>();
  const db = () => database.promise;
  let digest = xorHex([]);
  let settingsRevision = 0;
  const summary = await readBackup(path, secret, {
    begin: async (_manifest, keys) => database.resolve(await options.prepare(keys)),
    async documents(changes) {
      const kept = changes.filter(({ kind, removed }) => !removed && !LEFT_BEHIND.has(kind));
      if (kept.length === 0) return;
      digest = xorHex([digest, ...(await restoreDocuments(await db(), kept))]);
      for (const { kind, revision } of kept) {
        if (isSettingsKind(kind)) settingsRevision = Math.max(settingsRevision, revision);
      }
    },
    userStates: async (rows) => restoreUserStates(await db(), rows),
    stopFacts: async (facts) => restoreStopFacts(await db(), facts),
    reservations: async (rows) => restoreReservations(await db(), rows),
    events: async (events) => restoreEvents(await db(), events),
  });
  const { incarnation, revision, epoch } = summary.manifest;
  await finishRestore(await db(), {
    incarnation: {
      number: incarnation.number,
      id: randomUUID(),
      parent: null,
      baseRevision: 0,
      baseEpoch: epoch,
      ancestors: [],
      by: null,
      disasterAt: restoredAt.toISOString(),
    },
    revision,
    epoch,
    digest,
    settingsRevision,
  });
  return summary;
}
