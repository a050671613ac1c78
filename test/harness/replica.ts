import { join } from 'node:path';
import { listEpochs, openDatabase, type Database } from '@countersign/database';
import { waitFor } from '@countersign/testing';
import type { TestCluster, TestNode } from './cluster.ts';

/** Epochs that stand complete in that node's own PostgreSQL. */
export async function epochsOf(node: TestNode): Promise<number[]> {
  await using db = openReplica(node);
  return (await listEpochs(db)).map(({ epoch }) => epoch);
}

/** Waits until the event of each of these verifications is in every node's table; then each is there once. */
export async function untilEventsEverywhere(
  cluster: TestCluster,
  verificationIds: string[],
  timeoutMs = 30_000,
): Promise<{ duplicates: number }> {
  let duplicates = 0;
  for (const node of cluster.nodes) {
    await using db = openReplica(node);
    const counts = await waitFor(
      `every event on ${node.name}`,
      async () => {
        const found = await countVerificationEvents(db);
        return verificationIds.every((id) => found.has(id)) ? found : null;
      },
      { timeoutMs, everyMs: 200 },
    );
    duplicates += verificationIds.filter((id) => counts.get(id) !== 1).length;
  }
  return { duplicates };
}

async function countVerificationEvents(db: Database): Promise<Map<string, number>> {
  const rows = await db.sql<{ verification: string; count: number }[]>`
    select details ->> 'verification' as verification, count(*) from events
    where type = 'verification' group by 1`;
  return new Map(rows.map((row) => [row.verification, row.count]));
}

/** That node's own PostgreSQL. */
export function openReplica(node: TestNode): Database {
  return openDatabase({
    host: join(node.folder, 'socket'),
    port: 5432,
    user: 'countersign',
    database: 'countersign',
    max: 1,
    applicationName: 'cluster test',
  });
}
