import { expect, it } from 'vitest';

import { RecentRequests } from './recent-requests.ts';

const bounds = { keepMs: 1_000, maxEntries: 3, maxBytes: 100_000 };

function answer(recent: RecentRequests, key: string, packet: Buffer, now: number, size = 20): void {
  const begun = recent.begin(key, packet, now);
  if (begun.kind !== 'new') throw new Error(begun.kind);
  begun.finish(Buffer.alloc(size), now);
}

it('a reply is kept for its time, and not longer', () => {
  const recent = new RecentRequests(bounds);
  const packet = Buffer.from('request');
  answer(recent, 'a', packet, 0);
  expect(recent.begin('a', packet, 999).kind).toBe('answered');
  expect(recent.begin('b', packet, 999).kind).toBe('new');
  expect(recent.begin('a', packet, 1_000).kind).toBe('new');
});

it('the oldest replies go first when there are too many entries or bytes', () => {
  const recent = new RecentRequests(bounds);
  for (const [index, key] of ['a', 'b', 'c', 'd'].entries())
    answer(recent, key, Buffer.from(key), index);
  expect(recent.size.entries).toBe(3);
  expect(recent.begin('a', Buffer.from('a'), 5).kind).toBe('new');
  expect(recent.begin('d', Buffer.from('d'), 5).kind).toBe('answered');
  const small = new RecentRequests({ ...bounds, maxBytes: 5_000 });
  answer(small, 'a', Buffer.from('a'), 0, 4_000);
  answer(small, 'b', Buffer.from('b'), 1, 4_000);
  expect(small.size).toEqual({ entries: 1, bytes: 4_501 });
  small.expire(5_000);
  expect(small.size).toEqual({ entries: 0, bytes: 0 });
});

it('what was replaced while pending is aborted and its reply kept by nobody', () => {
  const recent = new RecentRequests(bounds);
  const first = recent.begin('a', Buffer.from('one'), 0);
  const second = recent.begin('a', Buffer.from('two'), 1);
  if (first.kind !== 'new' || second.kind !== 'new') throw new Error('not new');
  expect([first.abort.signal.aborted, second.abort.signal.aborted]).toEqual([true, false]);
  expect(first.finish(Buffer.from('reply'), 2)).toBe(false);
  expect(recent.begin('a', Buffer.from('two'), 3).kind).toBe('pending');
  expect(second.finish(Buffer.from('reply'), 4)).toBe(true);
});
