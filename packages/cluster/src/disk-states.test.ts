import { expect, it } from 'vitest';

import { explainFullDisks, whoFillsTheLog, type NodeDisks } from './disk-states.ts';

function nodes(...disks: (NodeDisks | undefined)[]) {
  return disks.map((own, i) => ({
    node: `node-${i + 1}`,
    isPromotable: true,
    ...(own && { disks: own }),
  }));
}

const ok: NodeDisks = { log: 'ok', database: 'ok' };
const fullLog: NodeDisks = { log: 'full', database: 'ok' };
const fullStore: NodeDisks = { log: 'ok', database: 'full' };

it('the log is full when most of its servers have no room, not when one has none', () => {
  expect(whoFillsTheLog(nodes(fullLog, ok, ok))).toEqual([]);
  expect(whoFillsTheLog(nodes(fullLog, ok, fullLog))).toEqual(['node-1', 'node-3']);
  expect(whoFillsTheLog(nodes({ log: 'low', database: 'ok' }))).toEqual([]);
});

it('nodes without a log server, or of a version that tells nothing, do not count', () => {
  const none: NodeDisks = { log: null, database: 'ok' };
  expect(whoFillsTheLog(nodes(fullLog, none, undefined))).toEqual(['node-1']);
  expect(whoFillsTheLog(nodes(undefined, undefined))).toEqual([]);
});

it('full stores explain a missing master only when no promotable node has room', () => {
  expect(explainFullDisks(nodes(fullStore, fullStore, ok))).toBeNull();
  expect(explainFullDisks(nodes(fullStore, fullStore))).toContain('node-1, node-2');
  expect(explainFullDisks(nodes(fullLog, fullLog, ok))).toContain('under the log');
  expect(explainFullDisks([])).toBeNull();
});
