import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApi } from './testing/index.ts';

// Below the 10 s that a request may take elsewhere.
const DEADLINE_MS = 8_000;

let server: Awaited<ReturnType<typeof startApi>>;
/** Takes slow requests for hostile ones at once, also those that only a busy machine slows down. */
let hasty: Awaited<ReturnType<typeof startApi>>;
beforeAll(async () => {
  server = await startApi();
  hasty = await startApi({ requestTimeoutMs: 300 });
});
afterAll(async () => {
  await server.close();
  await hasty.close();
});

/** Sends raw bytes and returns all that comes back until the server closes; fails after the deadline. */
function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`not closed within ${DEADLINE_MS} ms`));
    }, DEADLINE_MS);
    let received = '';
    socket.on('data', (data) => (received += data.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(received);
    });
    socket.write(text);
  });
}

describe('a hostile client', () => {
  it.each([
    ['headers', 'GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: '],
    [
      'a body',
      'POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer all\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{',
    ],
  ])('that sends %s too slowly is told 408 and closed', async (_what, text) => {
    const received = await exchange(hasty.port, text);
    expect(received).toMatch(/^HTTP\/1\.1 408 /);
    expect(received).toContain('"code":"request_timeout"');
  });

  it.each([
    ['no HTTP', 'HELLO\r\n\r\n', 400],
    ['huge headers', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ])('that sends %s gets a problem and is closed', async (_what, text, status) => {
    const received = await exchange(server.port, text);
    expect(received).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(received).toContain('application/problem+json');
  });

  it('never gets a 5xx out of 1,000 random requests', async () => {
    const random = mulberry32(20_260_301);
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
    const before = server.ports.commands.length;
    for (let batch = 0; batch < 50; batch += 1) {
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => sendRandomRequest(random, pick)),
      );
      const wrong = answers.filter(
        ({ status, type }) =>
          status >= 500 || (status >= 400 && type !== 'application/problem+json'),
      );
      expect(wrong).toEqual([]);
    }
    // Some of it must have got through to the ports, or this test proves nothing.
    expect(server.ports.commands.length).toBeGreaterThan(before);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  });
});

const PATHS = [
  '/api/v1/users',
  '/api/v1/users/USER',
  '/api/v1/users/USER/block',
  '/api/v1/users/USER/unblock',
  '/api/v1/users/USER/authenticators',
  '/api/v1/users/USER/authenticators/0190d6a2-0000-7000-8000-000000000000',
  '/api/v1/verifications',
  '/api/v1/settings',
  '/api/v1/cluster/promote',
  '/api/v1/cluster/demote',
  '/api/v1/events',
  '/api/v1/USER',
];
const FIELDS = [
  'username',
  'code',
  'application',
  'clientIp',
  'method',
  'reason',
  'days',
  'type',
  'secret',
  'digits',
  'node',
  'enabled',
  'displayName',
  'email',
  'lockout.failures',
  'failover.mode',
  'withoutQuorum.applications.x',
  '__proto__',
  'constructor',
  'toString',
];
const VALUES = [
  'alice',
  '',
  '123456',
  'totp',
  'oath',
  'manual',
  'node-2',
  '\u0000',
  '\ud800',
  '\u202e',
  '😀',
  -1,
  0,
  1,
  6,
  1e308,
  0.5,
  true,
  null,
  [],
  {},
  [[[[]]]],
  { $ne: 1 },
  'x'.repeat(300),
  '127.0.0.1',
];

async function sendRandomRequest(random: () => number, pick: <T>(items: readonly T[]) => T) {
  const method = pick(['GET', 'POST', 'POST', 'POST', 'PATCH', 'DELETE', 'PUT']);
  const user = pick([
    'alice',
    'bob',
    '..',
    '%2e%2e',
    '%00',
    '%',
    '%ff',
    'a%2Fb',
    randomText(random),
  ]);
  const query = random() < 0.2 ? `?${pick(FIELDS)}=${encodeURIComponent(randomText(random))}` : '';
  const path = pick(PATHS).replace('USER', user) + query;
  const body = method === 'GET' ? undefined : randomBody(random, pick);
  const response = await fetch(server.url + path, {
    method,
    headers: {
      authorization: 'Bearer all',
      ...(random() < 0.95 ? { 'content-type': 'application/json' } : {}),
      ...(random() < 0.1 ? { 'idempotency-key': 'k'.repeat(Math.floor(random() * 300)) } : {}),
    },
    ...(body === undefined ? {} : { body }),
  });
  await response.arrayBuffer();
  return {
    status: response.status,
    type: response.headers.get('content-type'),
    request: `${method} ${path} ${String(body).slice(0, 200)}`,
  };
}

function randomBody(
  random: () => number,
  pick: <T>(items: readonly T[]) => T,
): string | Uint8Array<ArrayBuffer> {
  if (random() < 0.1) {
    return Uint8Array.from({ length: Math.floor(random() * 200) }, () => random() * 256);
  }
  if (random() < 0.05) return '['.repeat(30_000);
  const entries = Array.from({ length: Math.floor(random() * 4) }, () => [
    random() < 0.9 ? pick(FIELDS) : randomText(random),
    pick(VALUES),
  ]);
  const text = JSON.stringify(Object.fromEntries(entries));
  return random() < 0.1 ? text.slice(0, Math.floor(random() * text.length)) : text;
}

function randomText(random: () => number): string {
  const length = 1 + Math.floor(random() * 12);
  return Array.from({ length }, () => String.fromCharCode(33 + random() * 90))
    .join('')
    .replace(/[#?\\]/g, '');
}

/** Small seeded generator, so that a failure can be repeated. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
