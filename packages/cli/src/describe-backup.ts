import type { BackupSummary } from '@countersign/backup';
import { escapeAll } from './escape-all.ts';

const HOUR_MS = 3_600_000;

/** What a backup holds, for people. */
export function describeBackup(summary: BackupSummary, nowMs: number): string[] {
  const { manifest, counts, users } = escapeAll(summary);
  const ageHours = (nowMs - Date.parse(manifest.createdAt)) / HOUR_MS;
  const age = ageHours < 48 ? `${ageHours.toFixed(1)} h` : `${(ageHours / 24).toFixed(1)} days`;
  return [
    `revision ${manifest.revision} (incarnation ${manifest.incarnation.number}, epoch ${manifest.epoch})`,
    `made ${manifest.createdAt} (${age} ago) at ${manifest.node}, version ${manifest.version}`,
    `${users} users, ${counts.documents} documents with the digest ${manifest.digest.slice(0, 8)}…`,
    `${counts.userStates} user states, ${counts.stopFacts} stop facts, ${counts.reservations} claims that were not merged`,
    manifest.withEvents ? `${counts.events} events` : 'no events: it was made without them',
  ];
}
