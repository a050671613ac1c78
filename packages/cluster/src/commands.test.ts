import { randomUUID } from 'node:crypto';
import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { askAgent, serveAgentRequests } from './agent-requests.ts';
import {
  HAND_OVER_HOLD_MS,
  sendCommand,
  serveCommands,
  type Command,
  type MasterReply,
} from './commands.ts';
import { Membership, type Heartbeat } from './membership.ts';
import { heartbeatSubject } from './names.ts';
import { NatsLink, type Log, type Sealer } from './nats-link.ts';

const silent: Log = { info() {}, warn() {} };
const sealer: Sealer = { seal: (bytes) => bytes, open: (bytes) => bytes };

let nats: TestNats;
let link: NatsLink;
let membership: Membership;

function heartbeat(fields: Partial<Heartbeat>): Heartbeat {
  return {
    node: 'node-1',
    instance: 'one',
    role: 'master',
    isHandingOver: false,
    leaseHolder: null,
    masterSince: null,
    epoch: 1,
    incarnation: { number: 1, id: 'a' },
    filling: null,
    logServer: null,
    logServerTag: null,
    storeMark: null,
    revision: 1,
    digest: '',
    isDigestComparable: true,
    isPromotable: true,
    version: '0',
    format: 1,
    url: null,
    isLogWritable: true,
    problems: [],
    wallMs: Date.now(),
    ...fields,
  };
}

function command(): Omit<Command, 'remainingMs'> {
  const commandId = randomUUID();
  return { commandId, contentHash: '', name: 'test', args: {}, actor: 'test', proof: {} };
}

function serve(instance: string, handle: (received: Command) => MasterReply): Command[] {
  const received: Command[] = [];
  serveCommands({
    link,
    sealer,
    instance,
    handle: async (one) => {
      received.push(one);
      return handle(one);
    },
  });
  return received;
}

beforeAll(async () => {
  nats = await startTestNats({ servers: 1 });
  const servers = nats.urls.map((url) => url.replace('nats://', ''));
  const { user, password } = nats;
  link = new NatsLink({ servers, user, password, name: 'test', log: silent });
  membership = new Membership(link);
  await waitFor('the connection', () => link.isUp, { timeoutMs: 5000 });
}, 60_000);

afterAll(async () => {
  await link.close();
  await nats.stop();
});

describe('a command', () => {
  it('is run by the giver after all when a hand-over comes to nothing', async () => {
    const sendInHandOver = async () => {
      const giver = heartbeat({ instance: randomUUID(), epoch: 10 });
      const isOver = Promise.withResolvers<void>();
      let isHandingOver = true;
      const received = serve(giver.instance, () => {
        if (!isHandingOver) return { kind: 'done', revision: 7, result: {} };
        membership.send({ ...giver, isHandingOver: true });
        setTimeout(() => {
          isHandingOver = false;
          membership.send(giver);
          isOver.resolve();
        }, 200);
        return { kind: 'handing_over' };
      });
      membership.send(giver);
      const sentAt = performance.now();
      const outcome = await sendCommand({ link, membership, sealer }, command(), 5000);
      const tookMs = performance.now() - sentAt;
      await isOver.promise;
      // A write is not held for longer.
      return tookMs < HAND_OVER_HOLD_MS ? { outcome, received } : null;
    };
    const sent = await waitFor('an answer in time', sendInHandOver, { timeoutMs: 18_000 });
    expect(sent.outcome).toEqual({ kind: 'done', revision: 7, result: {} });
    expect(sent.received).toHaveLength(2);
  });

  it('is told "no master" when who was master is none any more and no other comes', async () => {
    const old = heartbeat({ instance: randomUUID(), epoch: 20 });
    const received = serve(old.instance, () => ({ kind: 'not_master' }));
    membership.send(old);
    const sent = sendCommand({ link, membership, sealer }, command(), 5000);
    expect(await sent).toEqual({ kind: 'master_offline' });
    expect(received).toHaveLength(1);
  });
});

describe('asking an agent', () => {
  it('tells an agent that is not there from one that does not answer', async () => {
    const options = { link, sealer };
    expect(await askAgent(options, 'node-7', 'take-over', {}, 5000)).toBeNull();
    serveAgentRequests({
      ...options,
      node: 'node-8',
      handle: () => new Promise(() => undefined),
    });
    const answer = await askAgent(options, 'node-8', 'take-over', {}, 300);
    expect(answer).toMatchObject({ ok: false, code: 'silent' });
  });
});

describe('membership', () => {
  it('outlives what is no heartbeat', async () => {
    for (const nonsense of ['null', '7', '{', '{"node":"a b","wallMs":1,"problems":[]}']) {
      link.publish(heartbeatSubject('node-9'), nonsense);
    }
    const other = heartbeat({ node: 'node-9', role: 'subordinate' });
    link.publish(heartbeatSubject('node-9'), JSON.stringify(other));
    await waitFor('the heartbeat after it', () => membership.find('node-9') !== null, {
      timeoutMs: 5000,
    });
    expect(membership.nodes().map(({ node }) => node)).toEqual(['node-1', 'node-9']);
  });
});
