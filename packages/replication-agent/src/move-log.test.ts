import { randomUUID } from 'node:crypto';
import {
  Lease,
  LEASE_TIMES,
  Membership,
  serveAgentRequests,
  type AgentVerb,
  type LogLayout,
} from '@countersign/cluster';
import { countDocuments, readCircuit } from '@countersign/database';
import { waitFor } from '@countersign/testing';
import { describe, expect, it } from 'vitest';
import type { BulkOutcome } from './bulk-runner.ts';
import { AgentEvents } from './events.ts';
import { handOver } from './hand-over.ts';
import { moveLog } from './move-log.ts';
import { heartbeatOf } from './testing/heartbeat-of.ts';
import { startTestMaster } from './testing/start-test-master.ts';
import { silent, useTestLog } from './testing/use-test-log.ts';

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
  const events = new AgentEvents(master.db, node, () => undefined);
  const options = { ...master, node, membership, events, log: silent };
  return { ...master, peer, options };
}

describe('moving the log', () => {
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
    expect(mastership.term?.epoch).toBe(epoch + 1);
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
