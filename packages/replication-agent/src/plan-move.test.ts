import type { LogLayout, LogServerAddress, SeenNode } from '@countersign/cluster';
import { describe, expect, it } from 'vitest';
import { nextLayout, planMove } from './plan-move.ts';
import { heartbeatOf } from './testing/heartbeat-of.ts';

const server = (name: string): LogServerAddress => ({
  name,
  host: '127.0.0.1',
  clientPort: 4222,
  routePort: 6222,
});

const layoutOf = (...names: string[]): LogLayout => ({
  tag: 'now',
  servers: names.map(server),
  by: null,
  disasterAt: null,
});

/** A node that is well and runs its server of the present layout. */
function seen(node: string, differs: Partial<SeenNode> = {}): SeenNode {
  return {
    ...heartbeatOf(node, { logServer: server(node), logServerTag: 'now', revision: 1000 }),
    seenAt: 0,
    seenAtWall: '',
    offsetMs: 0,
    ...differs,
  };
}

const out = { logServerTag: null };

function namesPlanned(layout: LogLayout, online: SeenNode[], self = 'a'): string[] | null {
  return planMove({ layout, online, self })?.map(({ name }) => name) ?? null;
}

describe('planning where the log moves', () => {
  it('takes a lone server to three as soon as three nodes could carry the log', () => {
    const alone = layoutOf('b');
    expect(namesPlanned(alone, [seen('b'), seen('c', out)], 'b')).toBeNull();
    const online = [seen('b'), seen('c', out), seen('a', out), seen('d', out)];
    expect(namesPlanned(alone, online, 'b')).toEqual(['b', 'a', 'c']);
  });

  it.each([
    ['has no log server', { logServer: null }],
    ['fills its tables', { filling: { number: 2, revision: 5 } }],
    ['is catching up', { isDigestComparable: false }],
    ['is far behind', { revision: 979 }],
  ])('does not count a node that %s', (_why, differs) => {
    const third = seen('c', { ...out, ...differs });
    expect(namesPlanned(layoutOf('a'), [seen('a'), seen('b', out), third])).toBeNull();
    const ready = seen('c', { ...out, revision: 980 });
    expect(namesPlanned(layoutOf('a'), [seen('a'), seen('b', out), ready])).not.toBeNull();
  });

  it('leaves three servers alone, also while one of them is down', () => {
    const layout = layoutOf('a', 'b', 'c');
    expect(namesPlanned(layout, [seen('a'), seen('b'), seen('c')])).toBeNull();
    expect(namesPlanned(layout, [seen('a'), seen('b'), seen('d', out)])).toBeNull();
  });

  it('takes a node back whose server lost its store, and keeps the others', () => {
    const layout = layoutOf('a', 'b', 'c');
    const online = [seen('d', out), seen('c', out), seen('b'), seen('a')];
    expect(namesPlanned(layout, online)).toEqual(['a', 'b', 'c']);
    const inAnother = seen('c', { logServerTag: 'before' });
    expect(namesPlanned(layout, [seen('a'), seen('b'), inAnother])).toEqual(['a', 'b', 'c']);
  });

  it('waits until the master itself could carry the log', () => {
    const online = [seen('a', { logServer: null }), seen('b', out), seen('c', out), seen('d', out)];
    expect(namesPlanned(layoutOf('x'), online)).toBeNull();
  });

  const witness = (differs: { tag?: string; runsLogServer?: boolean } = {}) => ({
    ...{ name: 'w', logServer: server('w'), tag: 'now', runsLogServer: true },
    ...differs,
  });
  const planned = (options: Omit<Parameters<typeof planMove>[0], 'self'>) =>
    planMove({ self: 'a', ...options })?.map(({ name }) => name) ?? null;

  it('makes three of two nodes and a witness, and of a third node rather than a witness', () => {
    const layout = layoutOf('a');
    const waiting = [witness({ runsLogServer: false })];
    const two = [seen('a'), seen('b', out)];
    expect(planned({ layout, online: two, witnesses: waiting })).toEqual(['a', 'b', 'w']);
    const three = [...two, seen('c', out)];
    expect(planned({ layout, online: three, witnesses: waiting })).toEqual(['a', 'b', 'c']);
    const witnesses = [...waiting, { ...waiting[0]!, name: 'v' }];
    expect(planned({ layout, online: [seen('a')], witnesses })).toBeNull();
    const notReady = [seen('a'), seen('b', { ...out, isDigestComparable: false })];
    expect(planned({ layout, online: notReady, witnesses: waiting })).toBeNull();
  });

  it('leaves two nodes and a witness alone, and takes a witness back that lost its store', () => {
    const layout = layoutOf('a', 'b', 'w');
    const online = [seen('a'), seen('b')];
    expect(planned({ layout, online, witnesses: [witness()] })).toBeNull();
    expect(planned({ layout, online: [seen('a')], witnesses: [witness()] })).toBeNull();
    expect(planned({ layout, online, witnesses: [] })).toBeNull();
    for (const lost of [witness({ runsLogServer: false }), witness({ tag: 'before' })]) {
      expect(planned({ layout, online, witnesses: [lost] })).toEqual(['a', 'b', 'w']);
    }
  });

  it('goes on without a witness that was removed: with another, a third node, or alone', () => {
    const nodes = layoutOf('a', 'b', 'w');
    const servers = nodes.servers.map((one) =>
      one.name === 'w' ? { ...one, isWitness: true as const } : one,
    );
    const layout = { ...nodes, servers };
    const online = [seen('a'), seen('b')];
    const isGone = (name: string) => name === 'w';
    expect(planned({ layout, online, isGone })).toEqual(['a']);
    // Of a node people decide.
    expect(planned({ layout: nodes, online, isGone })).toBeNull();
    const another = [{ ...witness({ runsLogServer: false }), name: 'v', logServer: server('v') }];
    expect(planned({ layout, online, witnesses: another, isGone })).toEqual(['a', 'b', 'v']);
    const three = [...online, seen('c', out)];
    expect(planned({ layout, online: three, isGone })).toEqual(['a', 'b', 'c']);
  });

  it('gives every new set of servers a tag of its own', () => {
    const made = Array.from({ length: 20 }, () =>
      nextLayout({ servers: [server('a')], by: 'a', disasterAt: null }),
    );
    expect(new Set(made.map(({ tag }) => tag)).size).toBe(20);
  });
});
