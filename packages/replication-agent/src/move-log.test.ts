import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  areStatesShut,
  Lease,
  LEASE_TIMES,
  Membership,
  serveAgentRequests,
  type AgentVerb,
  UserStates,
  type LogLayout,
} from '@countersign/cluster';
import { countDocuments, listUserStates, readCircuit } from '@countersign/database';
import { waitFor } from '@countersign/testing';
import { emptyState, encodeState } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import type { BulkOutcome } from './bulk-runner.ts';
import { AgentEvents } from './events.ts';
import { followStates } from './follow-states.ts';
import { handOver } from './hand-over.ts';
import { moveLog } from './move-log.ts';
import { heartbeatOf } from './testing/heartbeat-of.ts';
import { startTestMaster } from './testing/start-test-master.ts';
import { silent, useTestLog } from './testing/use-test-log.ts';
import { noWitnesses } from './testing/no-witnesses.ts';

const test = useTestLog();
const node = 'node-1';

const next: LogLayout = {
  tag: 'next',
  servers: [node, 'node-2'].map((name) => ({
    name,
    host: '127.0.0.1',
    clientPort: 1,
    routePort: 2,
  })),
  by: node,
  disasterAt: null,
};

type Peer = { asked: AgentVerb[]; whenAsked: Partial<Record<AgentVerb, () => Promise<unknown>>> };

/** A master, and another node that hears it and says yes to whatever it is asked. */
async function startMasterAndPeer() {
  const master = await startTestMaster(test);
  const membership = new Membership(master.link);
  const peer: Peer = { asked: [], whenAsked: {} };
  const link = test.connect();
  serveAgentRequests({
    link,
    sealer: master.sealer,
    node: 'node-2',
    async handle(verb) {
      peer.asked.push(verb);
      return { ok: (await peer.whenAsked[verb]?.()) !== false };
    },
  });
  const peerMembership = new Membership(link);
  const isHeard = () => {
    peerMembership.send(
      heartbeatOf('node-2', { isDigestComparable: false, revision: 0, epoch: 0 }),
    );
    return membership.find('node-2') !== null;
  };
  await waitFor('the other node to be heard', isHeard, { timeoutMs: 5000 });
  const states = new UserStates(link, master.incarnation.number);
  const copying = new AbortController();
  const follow = { db: master.db, states, signal: copying.signal, log: silent };
  const following = followStates(follow);
  const stopCopying = () => {
    copying.abort();
    return following;
  };
  test.atEnd(stopCopying);
  const events = new AgentEvents(master.db, node, () => undefined);
  const options = { ...master, node, membership, witnesses: noWitnesses, events, log: silent };
  return { ...master, peer, options, states, stopCopying };
}

const state = encodeState(emptyState());

describe('moving the log', () => {
  it('leaves no user state behind that a node writes who has not heard of it', async () => {
    const { db, states, stopCopying, peer, options } = await startMasterAndPeer();
    const written: string[] = [];
    const late: unknown[] = [];
    let isTold = false;
    const write = async () => {
      const userId = randomUUID();
      const outcome = await states.write(userId, state, 0, 10_000);
      if (outcome.kind === 'written') written.push(userId);
      return outcome;
    };
    peer.whenAsked.move = async () => {
      isTold = true;
      await stopCopying();
      late.push(await write());
    };
    const writing = (async () => {
      while (!isTold) {
        await write();
        await sleep(5);
      }
    })();
    expect(await moveLog(next, options)).toBe(true);
    await writing;
    expect(late).toEqual([{ kind: 'silent', why: 'no server answers for this stream' }]);
    const copied = await listUserStates(db, { after: null, limit: written.length + 1 });
    expect(copied.map(({ userId }) => userId)).toEqual(written.toSorted());
    expect(written).not.toHaveLength(0);
    expect(await states.readThroughLeader(written[0]!, 10_000)).toMatchObject({ kind: 'found' });
  }, 30_000);

  it('takes user states again where it is given up after they were shut', async () => {
    const { db, incarnation, link, mastership, states, stopCopying, peer, options } =
      await startMasterAndPeer();
    await stopCopying();
    let wasShut = false;
    const looking = (async () => {
      while (!wasShut) wasShut = await areStatesShut(link, incarnation.number).catch(() => false);
    })();
    expect(await moveLog(next, options)).toBe(false);
    await looking;
    expect(peer.asked).toEqual(['hold', 'applied', 'release']);
    expect((await readCircuit(db)).heldUntil).toBeNull();
    expect(mastership.isHandingOver).toBe(false);
    expect(await states.write(randomUUID(), state, 0, 10_000)).toMatchObject({ kind: 'written' });
  }, 30_000);

  it('tells nobody before the old log is closed, and nothing is acknowledged there from then on', async () => {
    const { db, mastership, lease, replica, command, readLogEnd, peer, options } =
      await startMasterAndPeer();
    const users = Array.from({ length: 400 }, (_, i) => ({ username: `user-${i}` }));
    const loading = mastership.handle(command('user.add-many', { users }));
    const whenTold: unknown[] = [];
    peer.whenAsked.move = async () => {
      // As if something had cleared it.
      mastership.isHandingOver = false;
      whenTold.push(lease.record);
      whenTold.push(await mastership.handle(command('user.add', { username: 'late' })));
      const document = { at: new Date().toISOString() };
      whenTold.push(await mastership.write({ kind: 'probe', id: node, document }));
    };
    expect(await moveLog(next, options)).toBe(true);
    expect(whenTold).toEqual([
      expect.objectContaining({ holder: null, movedTo: next }),
      { kind: 'not_master' },
      false,
    ]);
    expect(peer.asked).toEqual(['hold', 'applied', 'move']);
    expect(replica.applied.revision).toBe(await readLogEnd());
    const loaded = await loading;
    const outcomes = loaded.kind === 'done' ? (loaded.result.results as BulkOutcome[]) : [];
    const added = outcomes.filter(({ status }) => status === 201);
    expect(added).toHaveLength(await countDocuments(db, 'user'));
  }, 30_000);

  it('comes to nothing, and nobody is told, where another node became master meanwhile', async () => {
    const { db, link, incarnation, peer, options } = await startMasterAndPeer();
    const other = new Lease({
      link,
      incarnationNumber: incarnation.number,
      baseEpoch: 0,
      node: 'node-2',
      instance: randomUUID(),
      isPromotable: true,
      policy: () => ({ mode: 'automatic', afterMs: 0 }),
      isFit: () => true,
      onGain() {},
      onLoss() {},
      onMoved() {},
      // It thinks that the master was silent for long.
      times: { ...LEASE_TIMES, ttlMs: 50, skewMs: 0 },
      log: silent,
    });
    let taken: unknown;
    peer.whenAsked.applied = async () => {
      taken = await other.takeOver(5000);
    };
    expect(await moveLog(next, options)).toBe(false);
    expect(taken).toBe('taken');
    expect(peer.asked).toEqual(['hold', 'applied', 'release']);
    expect((await readCircuit(db)).heldUntil).toBeNull();
    await other.claimOffer();
    expect(other.record).toMatchObject({ holder: 'node-2' });
  }, 30_000);

  it('comes to nothing where its own term ended meanwhile, though it is master again', async () => {
    const { mastership, lease, peer, options } = await startMasterAndPeer();
    peer.whenAsked.applied = async () => {
      await lease.beginNextEpoch('test');
      await mastership.waitUntilActive(5000);
    };
    const { epoch } = mastership.term!;
    expect(await moveLog(next, options)).toBe(false);
    expect(peer.asked).not.toContain('move');
    expect(mastership.term?.epoch).toBeGreaterThan(epoch);
    expect(mastership.isHandingOver).toBe(false);
  }, 30_000);

  it('leaves everything as it was where a node does not take part', async () => {
    const { db, mastership, command, peer, options } = await startMasterAndPeer();
    peer.whenAsked.applied = async () => false;
    expect(await moveLog(next, options)).toBe(false);
    expect(peer.asked).toEqual(['hold', 'applied', 'release']);
    expect((await readCircuit(db)).heldUntil).toBeNull();
    const added = await mastership.handle(command('user.add', { username: 'alice' }));
    expect(added).toMatchObject({ kind: 'done' });
  }, 30_000);

  it('is alone: no hand-over and no other move meanwhile', async () => {
    const { mastership, peer, options } = await startMasterAndPeer();
    const meanwhile: unknown[] = [];
    peer.whenAsked.hold = async () => {
      meanwhile.push(await handOver(options, 'node-2', 'test'));
      meanwhile.push(await moveLog(next, options));
      meanwhile.push(mastership.isHandingOver);
    };
    expect(await moveLog(next, options)).toBe(true);
    expect(meanwhile).toEqual([
      expect.objectContaining({ kind: 'refused', status: 409, code: 'busy' }),
      false,
      true,
    ]);
    expect(peer.asked).toEqual(['hold', 'applied', 'move']);
  }, 30_000);
});
