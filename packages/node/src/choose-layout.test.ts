import type { Hello, Incarnation, LogLayout } from '@countersign/cluster';
import { describe, expect, it } from 'vitest';
import { layoutAmong } from './choose-layout.ts';
import { noteMove, type NotedLayout } from './layout-file.ts';

const layoutOf = (tag: string, ...names: string[]): LogLayout => ({
  tag,
  servers: names.map((name) => ({ name, host: '127.0.0.1', clientPort: 4222, routePort: 6222 })),
  by: null,
  disasterAt: null,
});

const first: NotedLayout = {
  layout: layoutOf('1', 'a', 'b', 'c'),
  runsLogServer: true,
  leftTags: [],
};

function hello(
  node: string,
  layout: LogLayout,
  options: Partial<Hello> & { number?: number } = {},
) {
  const { number = 1, ...rest } = options;
  const incarnation: Incarnation = {
    number,
    id: `life ${number}`,
    parent: null,
    baseRevision: 0,
    baseEpoch: 0,
    ancestors: [],
    by: null,
    disasterAt: null,
  };
  const greeting: Hello = {
    node,
    layout,
    place: { incarnation, revision: 10, epoch: 1 },
    highestNumber: number,
    master: 'a',
    isLogWritable: true,
    storeMarks: {},
    knownNodes: ['a', 'b'],
    ...rest,
  };
  return greeting;
}

describe('a node without a store', () => {
  it('decides nothing by nodes that have no data themselves', () => {
    expect(layoutAmong([], first, 'c')).toBeNull();
    expect(layoutAmong([hello('a', first.layout, { place: null })], first, 'c')).toBeNull();
  });

  it('runs its log server where the others expect it and have never heard of it', () => {
    expect(layoutAmong([hello('a', first.layout)], first, 'c')).toEqual(first);
  });

  it('does not vote again where it is known: it has lost what it agreed to', () => {
    const known = hello('a', first.layout, { knownNodes: ['a', 'b', 'c'] });
    expect(layoutAmong([known], first, 'c')).toEqual({ ...first, runsLogServer: false });
  });

  it('follows a log that it is no server of, or that has moved', () => {
    const lone = layoutOf('1', 'a');
    expect(layoutAmong([hello('a', lone)], first, 'c')).toMatchObject({
      layout: lone,
      runsLogServer: false,
    });
    const moved = layoutOf('moved', 'a', 'b', 'c');
    expect(layoutAmong([hello('a', moved)], first, 'c')).toMatchObject({
      layout: moved,
      runsLogServer: false,
    });
  });

  it('goes by the newest incarnation it hears of', () => {
    const moved = layoutOf('moved', 'a', 'b');
    const heard = [hello('b', first.layout), hello('a', moved, { number: 2 })];
    expect(layoutAmong(heard, first, 'c')?.layout).toEqual(moved);
    expect(layoutAmong(heard.toReversed(), first, 'c')?.layout).toEqual(moved);
  });
});

describe('a node that goes on in another log', () => {
  it('runs its server there if it is one of them', () => {
    const moved = layoutOf('moved', 'a', 'c');
    expect(noteMove(first, moved, 'c')).toEqual({
      layout: moved,
      runsLogServer: true,
      leftTags: ['1'],
    });
    expect(noteMove(first, moved, 'b').runsLogServer).toBe(false);
  });

  it('does not vote any more in one that it comes back to', () => {
    const forced = noteMove(first, layoutOf('forced', 'c'), 'c');
    const back = noteMove(forced, first.layout, 'c');
    expect(back).toEqual({
      layout: first.layout,
      runsLogServer: false,
      leftTags: ['1', 'forced'],
    });
    expect(noteMove(back, layoutOf('moved', 'a', 'b', 'c'), 'c').runsLogServer).toBe(true);
  });
});
