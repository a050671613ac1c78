import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { RadiusSeen, RadiusWatchLine } from './ports.ts';
import { MemoryRadius, startApi } from './testing/index.ts';

const patience = { timeout: 10_000 };
let server: Awaited<ReturnType<typeof startApi>>;

beforeAll(async () => {
  server = await startApi();
  server.ports.addKey('writer', ['settings:write']);
  server.ports.addKey('reasons', ['reasons:read']);
  server.ports.addKey('other', ['settings:write', 'reasons:read'], ['intranet']);
  server.ports.addKey('events', ['events:read']);
});
afterAll(() => server.close());
beforeEach(async () => {
  Object.assign(server.ports.radius, new MemoryRadius());
  server.ports.radiusFront.tests.length = 0;
  const added = await call('POST', '/clients', {
    body: {
      name: 'gateway',
      application: 'vpn',
      addresses: ['10.1.0.0/16'],
      secret: 'HUSH-HUSH-HUSH-HUSH',
    },
  });
  expect(added.status).toBe(201);
});
afterEach(() => vi.useRealTimers());

async function call(
  method: string,
  path: string,
  { key = 'all', body, headers = {} }: { key?: string; body?: object; headers?: object } = {},
) {
  const response = await fetch(`${server.url}/api/v1/radius${path}`, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  const json = (await response.json()) as Record<string, unknown>;
  return { status: response.status, json, code: json.code };
}

describe('a test of a RADIUS client', () => {
  const path = '/clients/GATEWAY/tests';

  it('reaches the node with all that was typed and who asks, and comes back as it is', async () => {
    const body = {
      username: 'EXAMPLE\\alice',
      password: ' spaces stay ',
      code: '123456',
      from: '::ffff:10.1.2.3',
      station: 'laptop',
    };
    const step = { step: 'client', ok: true, text: 'found', tookMs: null } as const;
    server.ports.radiusFront.reports.push({ steps: [step], outcome: 'reject', reason: 'blocked' });
    const reply = await call('POST', path, { body });
    expect(reply).toMatchObject({
      status: 200,
      json: { steps: [step], outcome: 'reject', reason: 'blocked', node: 'node-1' },
    });
    const [test] = server.ports.radiusFront.tests;
    expect(test).toMatchObject({
      ...body,
      from: '10.1.2.3',
      answer: null,
      actor: 'all',
      client: { name: 'gateway' },
    });
    const answer = { id: test!.id, state: 'c3RhdGU=', code: '123456' };
    await call('POST', path, { body: { username: 'alice', answer } });
    expect(server.ports.radiusFront.tests[1]).toMatchObject({ id: test!.id, answer });
  });

  it('sent again is the same sign-in, and anybody else’s is another', async () => {
    const body = { username: 'alice', password: 'x' };
    const again = { body, headers: { 'idempotency-key': 'one' } };
    await call('POST', path, again);
    await call('POST', path, again);
    await call('POST', path, { body, headers: { 'idempotency-key': 'two' } });
    await call('POST', path, { body });
    const ids = server.ports.radiusFront.tests.map(({ id }) => id);
    expect(ids[0]).toBe(ids[1]);
    expect(new Set(ids).size).toBe(3);
  });

  it('takes the right to write clients, that to read reasons, and that to the application', async () => {
    const body = { username: 'alice', password: 'x' };
    for (const key of ['writer', 'reasons', 'other', 'events']) {
      expect([key, (await call('POST', path, { key, body })).status]).toEqual([key, 403]);
    }
    const absent = await call('POST', '/clients/nobody/tests', { body });
    expect(absent.code).toBe('unknown_radius_client');
    expect(server.ports.radiusFront.tests).toEqual([]);
  });

  it.each([
    {},
    { username: 'a\nb' },
    { username: 'alice', password: 'x'.repeat(129) },
    { username: 'alice', from: 'somewhere' },
    { username: 'alice', answer: { id: 'mine', state: 'c3RhdGU=', code: '1' } },
    { username: 'alice', state: 'c3RhdGU=' },
  ])('refuses %j', async (body) => {
    expect(await call('POST', path, { body })).toMatchObject({ code: 'invalid_request' });
    expect(server.ports.radiusFront.tests).toEqual([]);
  });
});

const seen = (client: string | null, why: string | null = null): RadiusSeen => ({
  kind: 'seen',
  at: '2026-03-01T03:12:45.000Z',
  worker: 0,
  service: 'authentication',
  from: '10.1.2.3:1024',
  client,
  testBy: null,
  packet: 'Access-Request',
  protocol: 'pap',
  user: 'alice',
  verdict: 'accept',
  why,
  attributes: [],
  tookMs: 3,
});

describe('watching RADIUS', () => {
  /** Lines as they come, until it ends. */
  async function watch(query = '', key = 'events') {
    const stopping = new AbortController();
    const response = await fetch(`${server.url}/api/v1/radius/watch${query}`, {
      headers: { authorization: `Bearer ${key}` },
      signal: stopping.signal,
    });
    const lines: RadiusWatchLine[] = [];
    const read = async () => {
      let rest = '';
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
        const parts = (rest + chunk).split('\n');
        rest = parts.pop()!;
        lines.push(...parts.map((part) => JSON.parse(part) as RadiusWatchLine));
      }
    };
    return { response, lines, ended: read().catch(() => undefined), stop: () => stopping.abort() };
  }
  const untilNobodyWatches = () =>
    expect.poll(() => server.ports.radiusFront.watchers, patience).toBe(0);

  it('tells one client’s lines as they come, and forgets who went away', async () => {
    const watching = await watch('?client=GATEWAY');
    expect(watching.response.headers.get('content-type')).toBe('application/x-ndjson');
    for (const client of ['gateway', 'other', null]) server.ports.radiusFront.tell(seen(client));
    server.ports.radiusFront.tell({ kind: 'quiet' });
    await expect
      .poll(() => watching.lines, patience)
      .toEqual([
        { kind: 'watching', node: 'node-1', workers: 2, silent: [] },
        seen('gateway'),
        { kind: 'quiet' },
      ]);
    watching.stop();
    await untilNobodyWatches();
  });

  it('takes the right to read events, and a client that there is', async () => {
    expect((await call('GET', '/watch', { key: 'writer' })).status).toBe(403);
    const absent = await call('GET', '/watch?client=nobody', { key: 'events' });
    expect(absent.code).toBe('unknown_radius_client');
    expect(server.ports.radiusFront.watchers).toBe(0);
  });

  it('ends when its key is taken away', async () => {
    server.ports.addKey('short', ['events:read']);
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const watching = await watch('', 'short');
    vi.advanceTimersByTime(15_000);
    server.ports.radiusFront.tell(seen('gateway'));
    await expect.poll(() => watching.lines.length, patience).toBe(2);
    server.ports.keys.delete('short');
    vi.advanceTimersByTime(15_000);
    await watching.ended;
    await untilNobodyWatches();
  });

  it('keeps little for who does not read, and says how much was lost', async () => {
    const socket = connect(server.port, '127.0.0.1').pause();
    socket.write(
      'GET /api/v1/radius/watch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer events\r\n\r\n',
    );
    await expect.poll(() => server.ports.radiusFront.watchers, patience).toBe(1);
    const long = seen('gateway', 'x'.repeat(5000));
    // More than what the kernel and the server keep.
    const told = 8000;
    for (let number = 0; number < told; number += 1) server.ports.radiusFront.tell(long);
    let text = '';
    socket.on('data', (data) => (text += String(data)));
    socket.resume();
    await expect.poll(() => /"lost","count":\d+\}/.exec(text)?.[0], patience).toBeDefined();
    const lost = Number(/"lost","count":(\d+)/.exec(text)![1]);
    const received = text.split('"kind":"seen"').length - 1;
    expect(lost).toBeGreaterThan(1000);
    expect(lost + received).toBe(told);
    socket.destroy();
    await untilNobodyWatches();
  });
});
