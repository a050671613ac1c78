import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readStoreMark, type SeenNode } from '@countersign/cluster';
import { waitFor } from '@countersign/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreMarks } from './store-marks.ts';
import { silent } from './testing/use-test-log.ts';

let store: string;
beforeEach(() => {
  store = mkdtempSync(join(tmpdir(), 'countersign-store-'));
});
afterEach(() => rmSync(store, { recursive: true, force: true }));

function seen(node: string, logServerTag: string | null, storeMark: number | null): SeenNode {
  return { node, logServerTag, storeMark } as SeenNode;
}

describe('marks beside the stores of log servers', () => {
  it('count on over restarts, and are told only once they are on disk', async () => {
    const marks = new StoreMarks();
    expect(marks.own('1')).toBeNull();
    for (const expected of [1, 2]) {
      const stop = new AbortController();
      const about = { storeDirectory: store, tag: '1', signal: stop.signal, log: silent };
      const marked = new StoreMarks();
      const counting = marked.countOn(about);
      await waitFor('a mark', () => marked.own('1') !== null, { timeoutMs: 5000 });
      expect(marked.own('1')).toBe(expected);
      expect(readStoreMark(store)).toBe(expected);
      expect(marked.own('other')).toBeNull();
      stop.abort();
      await counting;
    }
  });

  it('are told to nobody where there is no store to mark', async () => {
    const marks = new StoreMarks();
    const stop = new AbortController();
    const storeDirectory = join(store, 'missing');
    const refused = Promise.withResolvers<void>();
    const log = { info() {}, warn: () => refused.resolve() };
    const counting = marks.countOn({ storeDirectory, tag: '1', signal: stop.signal, log });
    await refused.promise;
    expect(marks.own('1')).toBeNull();
    expect(readStoreMark(storeDirectory)).toBe(0);
    stop.abort();
    await counting;
  });

  it('of others are remembered at their highest, for the layout they belong to', () => {
    const marks = new StoreMarks();
    marks.note([seen('node-1', '1', 7), seen('node-2', null, null)]);
    marks.note([seen('node-1', '1', 5)]);
    expect(marks.heard('1')).toEqual({ 'node-1': 7 });
    marks.note([seen('node-1', 'abcd', 1)]);
    expect(marks.heard('1')).toEqual({});
    expect(marks.heard('abcd')).toEqual({ 'node-1': 1 });
  });
});
