import { join } from 'node:path';
import { listEpochs, openDatabase, readPosition, type Database } from '@countersign/database';
import { waitFor } from '@countersign/testing';
import type { UserDocument } from '@countersign/verification';
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

/** Every user in that node's PostgreSQL by name; a name that stands twice throws. */
export async function readUsers(
  node: TestNode,
): Promise<Map<string, { id: string; revision: number }>> {
  await using db = openReplica(node);
  const rows = await db.sql<{ username: string; id: string; revision: number }[]>`
    select document ->> 'username' as username, id, revision from users`;
  const users = new Map(rows.map(({ username, ...user }) => [username, user]));
  if (users.size !== rows.length) throw new Error(`${node.name}: a name stands twice`);
  return users;
}

/** Changes that stand behind one of a newer epoch, in that node's PostgreSQL: what an old master left. */
export async function countStragglers(node: TestNode): Promise<number> {
  await using db = openReplica(node);
  const [row] = await db.sql<{ count: number }[]>`
    select count(*) from (
      select epoch, max(epoch) over (order by revision) as newest from documents) as in_order
    where epoch < newest`;
  return row!.count;
}

/** Waits until each of these nodes' PostgreSQL has every user state that stands in the log as it sees it now. */
export async function untilStatesFollowed(nodes: TestNode[], timeoutMs = 10_000): Promise<void> {
  const positions = await Promise.all(nodes.map(readStatesPosition));
  const least = Math.max(...positions);
  // A probe comes every 2 s: once one has passed, so has everything before this call.
  await waitFor(
    'user states to be followed',
    async () => (await Promise.all(nodes.map(readStatesPosition))).every((at) => at > least),
    { timeoutMs, everyMs: 100 },
  );
}

async function readStatesPosition(node: TestNode): Promise<number> {
  await using db = openReplica(node);
  return await readPosition(db, 'states');
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

/** Every user that came from a directory, in that node's PostgreSQL. */
export async function readDirectoryUsers(node: TestNode): Promise<UserDocument[]> {
  await using db = openReplica(node);
  const rows = await db.sql<{ document: UserDocument }[]>`
    select document from users where document ? 'directory'`;
  return rows.map(({ document }) => document);
}

/** Ids of the documents of a kind that were changed after a revision, in that node's PostgreSQL. */
export async function changesSince(
  node: TestNode,
  revision: number,
  kind: string,
): Promise<string[]> {
  await using db = openReplica(node);
  const rows = await db.sql<{ id: string }[]>`
    select id from documents where kind = ${kind} and revision > ${revision} order by revision`;
  return rows.map(({ id }) => id);
}
