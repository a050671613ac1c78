import { copyFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readStreamState } from '@countersign/cluster';
import { readPosition, unmergedClaims } from '@countersign/database';
import { waitFor } from '@countersign/testing';
import type { TestCluster, TestNode } from '../harness/cluster.ts';
import { openReplica } from '../harness/replica.ts';
import { connectToLog } from '../harness/stream-leader.ts';
import { describeContradictions, findContradictions } from './check.ts';
import { dumpReplica } from './dump-replica.ts';
import type { ReplicaDump } from './records.ts';

/**
 * Ends a fault test: all nodes run, no writer is at work. Waits until the replicas have followed everything, then
 * throws the shortest contradiction between them and what clients were told since the cluster began.
 */
export async function expectHistoryHolds(cluster: TestCluster, note = ''): Promise<void> {
  await cluster.untilWhole();
  const unquiet = await whenQuiet(cluster);
  const replicas = await dumpAll(cluster);
  const found = findContradictions(cluster.history.records, replicas);
  if (found.length === 0 && unquiet === null) return;
  const folder = mkdtempSync(join(tmpdir(), 'countersign-history-'));
  copyFileSync(cluster.history.file, join(folder, 'history.jsonl'));
  writeFileSync(join(folder, 'replicas.json'), JSON.stringify(replicas));
  writeFileSync(join(folder, 'contradictions.json'), JSON.stringify(found, null, 2));
  const text = describeContradictions(found);
  const kept = `everything is kept in ${folder}`;
  throw new Error([text, kept, note].join('\n').trim(), { cause: unquiet });
}

/** A replica that never gets there is the checker's business too: then this returns why. */
async function whenQuiet(cluster: TestCluster): Promise<unknown> {
  try {
    await waitFor('replicas that have followed everything', () => hasFollowed(cluster), {
      timeoutMs: 40_000,
      everyMs: 100,
    });
    return null;
  } catch (error) {
    return error;
  }
}

/** At one revision if they ever are: the master writes by itself now and then. */
async function dumpAll(cluster: TestCluster): Promise<ReplicaDump[]> {
  for (let attempt = 1; ; attempt += 1) {
    const dumps = await Promise.all(cluster.nodes.map(dumpNode));
    const revisions = new Set(dumps.map(({ revision }) => revision));
    if (revisions.size === 1 || attempt === 10) return dumps;
  }
}

async function dumpNode(node: TestNode): Promise<ReplicaDump> {
  await using db = openReplica(node);
  return await dumpReplica(db, node.name);
}

/** The log and the user states, each to its end, and what was approved without the quorum is among them. */
async function hasFollowed(cluster: TestCluster): Promise<boolean> {
  await using link = connectToLog(cluster);
  const { incarnation } = await cluster.api(cluster.nodes[0]!).cluster();
  const states = await readStreamState(link, `KV_STATES-${incarnation.number}`, 1000);
  const changes = await readStreamState(link, `CHANGES-${incarnation.number}`, 1000);
  if (!states || !changes) return false;
  for (const node of cluster.nodes) {
    await using db = openReplica(node);
    if ((await readPosition(db, 'states')) < states.lastSequence) return false;
    const [row] = await db.sql<{ position: number }[]>`
      select revision - (incarnation ->> 'baseRevision')::bigint as position from applied where revision >= horizon`;
    if (!row || row.position < changes.lastSequence) return false;
    if ((await unmergedClaims(db, node.name, 1)).length > 0) return false;
  }
  return true;
}
