import { randomUUID } from 'node:crypto';
import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureStreams } from './incarnation.ts';
import { readLast } from './jetstream.ts';
import { namesOf, STOP_FACTS_SUBJECT } from './names.ts';
import { NatsLink, type Log, type Sealer } from './nats-link.ts';
import { StopFacts } from './stop-facts.ts';

type Fact = { id: string; reason: string };

const silent: Log = { info() {}, warn() {} };
const WAIT_MS = 10_000;
/** Opens only what it sealed in the same place. */
const sealer: Sealer = {
  seal: (bytes, context) => Buffer.concat([Buffer.from(`${context}\n`), bytes]),
  open(bytes, context) {
    const prefix = `${context}\n`;
    const text = Buffer.from(bytes).toString();
    if (!text.startsWith(prefix)) throw new Error('sealed elsewhere');
    return Buffer.from(text.slice(prefix.length));
  },
};

let nats: TestNats;
let lastNumber = 0;
const opened: AsyncDisposable[] = [];

function connect(): NatsLink {
  const servers = nats.urls.map((url) => url.replace('nats://', ''));
  const { user, password } = nats;
  const link = new NatsLink({ servers, user, password, name: 'test', log: silent });
  opened.push(link);
  return link;
}

function stopFactsOf(link: NatsLink, incarnationNumber: number): StopFacts<Fact> {
  return new StopFacts<Fact>({
    link,
    incarnationNumber,
    sealer,
    parse(value) {
      const { id, reason } = value as Fact;
      if (typeof id !== 'string' || typeof reason !== 'string') throw new Error('no fact');
      return { id, reason };
    },
  });
}

function startListening(incarnationNumber: number, node: string) {
  const heard = { link: connect(), facts: [] as Fact[], malformed: 0 };
  stopFactsOf(heard.link, incarnationNumber).listen(node, {
    onFacts: async (facts) => void heard.facts.push(...facts),
    onMalformed: () => (heard.malformed += 1),
    log: silent,
  });
  return heard;
}

/** What the link sent before, its subscriptions too, has then been taken by the server. */
function roundTrip(link: NatsLink): Promise<void> {
  return new Promise((resolve) => {
    link.whenFirstConnected((connection) => resolve(connection.flush()));
  });
}

const fact = (reason = 'lost'): Fact => ({ id: randomUUID(), reason });

beforeAll(async () => {
  nats = await startTestNats({ servers: 1 });
}, 60_000);

afterAll(async () => {
  for (const one of opened.toReversed()) await one[Symbol.asyncDispose]();
  await nats.stop();
});

describe('telling stop facts', () => {
  it('reaches one process of every other node; what was not sealed or is none costs a counter', async () => {
    const number = (lastNumber += 1);
    const first = startListening(number, 'node-2');
    const second = startListening(number, 'node-2');
    const third = startListening(number, 'node-3');
    const own = startListening(number, 'node-1');
    const everyone = [first, second, third, own];
    const link = connect();
    await waitFor('everyone', () => [...everyone, { link }].every((one) => one.link.isUp), {
      timeoutMs: 10_000,
    });
    await Promise.all(everyone.map((one) => roundTrip(one.link)));
    link.publish(STOP_FACTS_SUBJECT, 'nonsense');
    link.publish(STOP_FACTS_SUBJECT, sealer.seal(Buffer.from('{"node":"x"}'), 'asks|ask'));
    link.publish(STOP_FACTS_SUBJECT, sealer.seal(Buffer.from('null'), 'stop-facts|told'));
    const mixed = { node: 'node-1', facts: [{ id: 7 }, fact('beside a wrong one')] };
    link.publish(
      STOP_FACTS_SUBJECT,
      sealer.seal(Buffer.from(JSON.stringify(mixed)), 'stop-facts|told'),
    );
    const told = [fact(), fact()];
    stopFactsOf(link, number).tell('node-1', told);
    await waitFor('all of them', () => third.facts.length >= 3, { timeoutMs: 5000 });
    expect(third.facts.slice(1)).toEqual(told);
    expect(third.facts[0]!.reason).toBe('beside a wrong one');
    expect(third.malformed).toBe(4);
    await waitFor('the other', () => first.facts.length + second.facts.length >= 3, {
      timeoutMs: 10_000,
    });
    expect(first.facts.length + second.facts.length).toBe(3);
    expect(own.facts).toEqual([]);
  });
});

describe('the bucket of stop facts', () => {
  it('takes a fact once, whoever brings it, and gives all of them to those who follow', async () => {
    const number = (lastNumber += 1);
    const link = connect();
    const limits = { changesBytes: 1 << 20, statesBytes: 1 << 20, eventsBytes: 1 << 20 };
    const create = () => ensureStreams(link, namesOf(number), { logReplicas: 1, limits });
    await waitFor('the streams', () => create().then(() => true), { timeoutMs: 15_000 });
    const stopFacts = stopFactsOf(link, number);
    const first = fact('first');
    expect(await stopFacts.store(first, WAIT_MS)).toBe(true);
    expect(await stopFacts.store({ ...first, reason: 'another' }, WAIT_MS)).toBe(true);
    const misplaced = sealer.seal(Buffer.from(JSON.stringify(first)), `stop-facts|${first.id}`);
    await link.request(namesOf(number).stopFact(randomUUID()), misplaced, { timeoutMs: WAIT_MS });
    const last = fact('last');
    expect(await stopFacts.store(last, WAIT_MS)).toBe(true);

    const seen: Fact[] = [];
    let position = 0;
    let malformed = 0;
    const stop = new AbortController();
    const following = stopFacts.follow({
      nextSequence: () => position + 1,
      async onFacts(facts, to) {
        seen.push(...facts);
        position = to;
      },
      onMalformed: () => (malformed += 1),
      signal: stop.signal,
      log: silent,
    });
    await waitFor('the last one', () => seen.some(({ id }) => id === last.id), {
      timeoutMs: 10_000,
    });
    stop.abort();
    await following;
    expect(seen).toEqual([first, last]);
    expect(malformed).toBe(1);
    const names = namesOf(number);
    const kept = await readLast(link, names.stops, names.stopFact(first.id), WAIT_MS);
    expect(kept).toMatchObject({ kind: 'found', message: { sequence: 1 } });
  });

  it('leaves open what the log does not take', async () => {
    expect(await stopFactsOf(connect(), (lastNumber += 1)).store(fact(), 300)).toBe(false);
  });
});
