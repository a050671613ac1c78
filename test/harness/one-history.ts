import { expect } from 'vitest';
import type { TestCluster } from './cluster.ts';
import { existingUsers, missingWrites, type WriteFigures } from './workload.ts';

/**
 * Once all digests are equal: what was acknowledged stands on every node, each at a revision of its own; what
 * stayed open is everywhere or nowhere; what was refused is nowhere.
 */
export async function expectOneHistory(cluster: TestCluster, written: WriteFigures): Promise<void> {
  const apis = cluster.nodes.map((node) => cluster.api(node));
  const missing = await Promise.all(apis.map((api) => missingWrites(api, written)));
  expect(missing.flat(), 'acknowledged writes that are missing').toEqual([]);
  const revisions = written.acknowledged.map(({ revision }) => revision);
  expect(new Set(revisions).size).toBe(revisions.length);
  const open = await Promise.all(apis.map((api) => existingUsers(api, written.uncertain)));
  for (const found of open) expect(found, 'open writes on different nodes').toEqual(open[0]);
  const refused = written.refused.map(({ username }) => username);
  const done = await Promise.all(apis.map((api) => existingUsers(api, refused)));
  expect(done.flat(), 'refused writes that were done').toEqual([]);
}
