import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Asks, type Ask, type AskAnswer } from './asks.ts';
import { aliveSubject, ASK_SUBJECT, SETTLED_SUBJECT } from './names.ts';
import { NatsLink, type Log, type Sealer } from './nats-link.ts';

const silent: Log = { info() {}, warn() {} };
const plain: Sealer = { seal: (bytes) => bytes, open: (bytes) => bytes };
const ask = { userId: 'user', item: 'totp:a:1', attemptId: 'attempt' };

let nats: TestNats;
const opened: AsyncDisposable[] = [];

function connect(urls = nats.urls): NatsLink {
  const servers = urls.map((url) => url.replace('nats://', ''));
  const { user, password } = nats;
  const link = new NatsLink({ servers, user, password, name: 'test', log: silent });
  opened.push(link);
  return link;
}

function start(link: NatsLink | NatsLink[], node: string, answer: (ask: Ask) => boolean): Asks {
  const asks = new Asks({
    links: [link].flat(),
    node,
    sealer: plain,
    answer: async (asked) => ({ isGranted: answer(asked), state: null }),
    onSettled: async () => undefined,
  });
  opened.push(asks);
  return asks;
}

/**
 * The answers to the first ask that gets any, made anew each time: nobody waits for longer than 150 ms, which a pause
 * of this machine may take.
 */
function answersTo(broadcast: () => Promise<AskAnswer[]>): Promise<AskAnswer[]> {
  const ask = async () => {
    const answers = await broadcast();
    return answers.length > 0 ? answers : null;
  };
  return waitFor('an answer', ask, { timeoutMs: 10_000 });
}

beforeAll(async () => {
  nats = await startTestNats({ servers: 3 });
}, 60_000);

afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

afterAll(() => nats.stop());

describe('asks', () => {
  it('reach the others also in the first moment, before anybody was heard', async () => {
    const peer = connect();
    start(peer, 'node-1', () => false);
    const answers = await answersTo(async () => {
      const link = connect();
      await waitFor('both connections', () => peer.isUp && link.isUp, { timeoutMs: 5000 });
      return start(link, 'node-2', () => true).broadcast(ask);
    });
    expect(answers).toEqual([{ node: 'node-1', isGranted: false, state: null }]);
  });

  it('wait a moment for a connection that is just being made', async () => {
    const peer = connect();
    start(peer, 'node-3', () => true);
    await waitFor('the peer', () => peer.isUp, { timeoutMs: 5000 });
    const answers = await answersTo(() => start(connect(), 'node-4', () => true).broadcast(ask));
    expect(answers.map(({ node }) => node)).toEqual(['node-3']);
  });

  it('are answered without a pause when the nearest server dies', { timeout: 60_000 }, async () => {
    const [own, others] = [nats.urls, nats.urls].map((urls) => urls.map((url) => connect([url])));
    start(others!, 'node-1', () => true);
    const asks = start(own!, 'node-2', () => true);
    const isComplete = () => [...own!, ...others!].every(({ isUp }) => isUp);
    const answers = await waitFor(
      'an answer',
      async () => {
        await waitFor('all connections', isComplete, { timeoutMs: 10_000 });
        await waitFor('the peer', () => asks.liveNodes().includes('node-1'), { timeoutMs: 5000 });
        await nats.kill(0);
        const heard = await asks.broadcast(ask);
        await nats.restart(0);
        return heard.length > 0 ? heard : null;
      },
      { timeoutMs: 45_000 },
    );
    expect(answers.map(({ node }) => node)).toEqual(['node-1']);
  });

  it('are answered though the clock of whoever asks was ahead a moment ago', async () => {
    const asked = start(connect(), 'node-1', () => true);
    const link = connect();
    await waitFor('the connection', () => link.isUp, { timeoutMs: 5000 });
    const ticksMs = Number(process.hrtime.bigint() / 1_000_000n);
    const ahead = () => link.publish(aliveSubject('node-2'), `${Date.now() + 9000} ${ticksMs}`);
    await waitFor('its clock', () => (ahead(), asked.medianClockOffsetMs() > 4000), {
      timeoutMs: 5000,
    });
    const asks = start(link, 'node-2', () => true);
    await waitFor('the peer', () => asks.liveNodes().includes('node-1'), { timeoutMs: 5000 });
    await waitFor('its clock set back', () => asked.medianClockOffsetMs() < 1000, {
      timeoutMs: 5000,
    });
    const answers = await answersTo(() => asks.broadcast(ask));
    expect(answers.map(({ node }) => node)).toEqual(['node-1']);
  });

  it('that a hung server kept for seconds are not answered', async () => {
    const answered: string[] = [];
    const asked = start(connect(), 'node-1', ({ attemptId }) => answered.push(attemptId) > 0);
    const link = connect();
    const asks = start(link, 'node-2', () => true);
    await waitFor('the peers', () => asked.liveNodes().length > 0 && asks.liveNodes().length > 0, {
      timeoutMs: 5000,
    });
    const body = { ...ask, node: 'node-2', reply: 'nobody' };
    const ticksMs = Number(process.hrtime.bigint() / 1_000_000n);
    const old = { ...body, attemptId: 'old', sentAtTicksMs: ticksMs - 10_000 };
    link.publish(ASK_SUBJECT, JSON.stringify(old));
    await answersTo(() => asks.broadcast(ask));
    expect(new Set(answered)).toEqual(new Set([ask.attemptId]));
  });

  it('go on being answered after somebody says he lives in nonsense', async () => {
    start(connect(), 'node-1', () => true);
    const link = connect();
    const asks = start(link, 'node-5', () => true);
    await waitFor('the connection', () => link.isUp, { timeoutMs: 5000 });
    link.publish(aliveSubject('node-6'), 'not a time');
    link.publish(ASK_SUBJECT, 'null');
    link.publish(SETTLED_SUBJECT, 'null');
    await waitFor('a peer', () => asks.liveNodes().includes('node-1'), { timeoutMs: 5000 });
    expect(asks.liveNodes()).not.toContain('node-6');
    const [answer] = await answersTo(() => asks.broadcast(ask));
    expect(answer).toBeDefined();
  });
});
