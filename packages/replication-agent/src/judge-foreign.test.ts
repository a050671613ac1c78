import {
  nextIncarnation,
  type Hello,
  type Incarnation,
  type LogLayout,
} from '@countersign/cluster';
import { describe, expect, it } from 'vitest';
import { describeConflict, judgeForeign, type OwnPlace } from './judge-foreign.ts';

const first: Incarnation = {
  number: 1,
  id: 'aaaaaaaa-1',
  parent: null,
  baseRevision: 0,
  baseEpoch: 0,
  ancestors: [],
  by: null,
  disasterAt: null,
};

function forced(by: string, left: number): Incarnation {
  return nextIncarnation({
    parent: first,
    left: { revision: left, epoch: 1 },
    highestNumber: 1,
    by,
    disasterAt: '2026-11-22T12:00:00.000Z',
  });
}

const layoutOf = (tag: string): LogLayout => ({ tag, servers: [], by: null, disasterAt: null });

function own(
  incarnation: Incarnation,
  revision: number,
  options: { tag?: string; isLogAlive: boolean },
): OwnPlace {
  const { tag = 'mine', isLogAlive } = options;
  return { layout: layoutOf(tag), place: { incarnation, revision, epoch: 1 }, isLogAlive };
}

function hello(
  incarnation: Incarnation | null,
  revision: number,
  options: { tag?: string; isLogWritable: boolean },
): Hello {
  const { tag = 'theirs', isLogWritable } = options;
  return {
    node: 'node-2',
    layout: layoutOf(tag),
    place: incarnation && { incarnation, revision, epoch: 1 },
    highestNumber: incarnation?.number ?? 0,
    master: null,
    isLogWritable,
    storeMarks: {},
    knownNodes: [],
  };
}

const kindOf = (mine: OwnPlace, theirs: Hello) => judgeForeign(mine, theirs).kind;
const dead = { isLogAlive: false };
const alive = { isLogAlive: true };
const writable = { isLogWritable: true };
const unwritable = { isLogWritable: false };

describe('a node that lives in another log', () => {
  it('is followed where it knows everything that is here and the log here is dead', () => {
    expect(kindOf(own(first, 100, dead), hello(forced('node-2', 100), 150, writable))).toBe(
      'follow',
    );
    expect(kindOf(own(first, 100, dead), hello(first, 150, writable))).toBe('follow');
  });

  it('is not followed before its log takes writes, nor ever without any data', () => {
    expect(kindOf(own(first, 100, dead), hello(forced('node-2', 100), 150, unwritable))).toBe(
      'ignore',
    );
    expect(kindOf(own(first, 100, dead), hello(null, 0, writable))).toBe('ignore');
    const empty = { layout: layoutOf('mine'), place: null, isLogAlive: false };
    expect(kindOf(empty, hello(null, 0, writable))).toBe('ignore');
    expect(kindOf(empty, hello(first, 5, unwritable))).toBe('follow');
  });

  it('is followed before its log takes writes where this log was closed for that one', () => {
    const waits = (revision: number, after: string) => {
      const there = hello(first, revision, unwritable);
      return { ...there, layout: { ...there.layout, after } };
    };
    expect(kindOf(own(first, 100, dead), waits(100, 'mine'))).toBe('follow');
    expect(kindOf(own(first, 101, dead), waits(100, 'mine'))).toBe('ignore');
    expect(kindOf(own(first, 100, dead), waits(100, 'another'))).toBe('ignore');
    expect(kindOf(own(first, 100, alive), waits(100, 'mine'))).toBe('ignore');
  });

  it('is not gone back to where that log was closed for this one, unless it went on all the same', () => {
    const here = own(first, 100, dead);
    const moved = { ...here, layout: { ...here.layout, after: 'theirs' } };
    expect(kindOf(here, hello(first, 100, writable))).toBe('follow');
    expect(kindOf(moved, hello(first, 100, writable))).toBe('ignore');
    expect(kindOf(moved, hello(first, 228, writable))).toBe('follow');
  });

  it('is of no interest in the same log', () => {
    const here = hello(forced('node-2', 100), 150, { tag: 'mine', ...writable });
    expect(kindOf(own(first, 100, alive), here)).toBe('ignore');
  });

  it('is a conflict where this node went on after the other left', () => {
    expect(kindOf(own(first, 101, dead), hello(forced('node-2', 100), 150, writable))).toBe(
      'conflict',
    );
  });

  it('is a conflict where both logs take writes, even if one side has written nothing since', () => {
    const there = forced('node-2', 100);
    expect(kindOf(own(first, 100, alive), hello(there, 150, writable))).toBe('conflict');
    expect(kindOf(own(there, 150, alive), hello(first, 100, writable))).toBe('conflict');
  });

  it('is left to follow by itself where this node knows everything it has', () => {
    expect(kindOf(own(forced('node-1', 100), 150, alive), hello(first, 100, unwritable))).toBe(
      'ignore',
    );
  });

  it('is a conflict on both sides after both of a 1|1|1 cut were promoted by force', () => {
    const one = forced('node-1', 100);
    const two = forced('node-2', 100);
    expect(one.number).toBe(two.number);
    for (const life of [alive, dead]) {
      expect(kindOf(own(one, 150, life), hello(two, 150, writable))).toBe('conflict');
      expect(kindOf(own(two, 150, life), hello(one, 150, writable))).toBe('conflict');
      expect(kindOf(own(one, 150, life), hello(two, 150, unwritable))).toBe('conflict');
    }
    const line = describeConflict(own(one, 150, alive), hello(two, 160, writable));
    expect(line).toContain('node-2 lives in another log: incarnation 2');
    expect(line).toContain(two.id.slice(0, 8));
    expect(line).toContain(one.id.slice(0, 8));
    expect(line).toContain('countersign rejoin');
  });

  it('is followed by the third of such a cut only if that one wrote nothing of its own', () => {
    const one = hello(forced('node-1', 100), 150, writable);
    expect(kindOf(own(first, 100, dead), one)).toBe('follow');
    expect(kindOf(own(first, 130, dead), one)).toBe('conflict');
  });
});
