import { connect } from 'node:net';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from './harness/cluster.ts';
import { report } from './harness/report.ts';
import { seeded } from './harness/seeded.ts';

let cluster: TestCluster;
let node: TestNode;
let workerPids: number[];

beforeAll(async () => {
  cluster = await TestCluster.start({ nodes: 1 });
  node = cluster.nodes[0]!;
  ({ workerPids } = node.pids);
  await cluster.api(node).done('POST', '/api/v1/users', { username: 'alice' });
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

/** Sends raw bytes and returns what came back until the server closed, at most `timeoutMs`. */
async function sendRaw(bytes: string | Buffer, timeoutMs = 15_000): Promise<string> {
  const { port, hostname } = new URL(node.url);
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    const timer = setTimeout(() => socket.destroy(), timeoutMs);
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(answer);
    });
  });
}

function randomBody(random: () => number): string {
  const pick = <T>(from: T[]) => from[Math.floor(random() * from.length)]!;
  const text = () =>
    Array.from({ length: Math.floor(random() * 40) }, () =>
      String.fromCodePoint(Math.floor(random() * 0xd7ff)),
    ).join('');
  const value = (depth: number): unknown =>
    pick<() => unknown>([
      () => null,
      () => random() * 1e9,
      () => text(),
      () => random() < 0.5,
      () => (depth > 3 ? [] : [value(depth + 1), value(depth + 1)]),
      () => (depth > 3 ? {} : { [text()]: value(depth + 1) }),
    ])();
  const kind = random();
  if (kind < 0.3) return text();
  if (kind < 0.5) return JSON.stringify(value(0));
  const body: Record<string, unknown> = { username: pick(['alice', 'nobody', text()]) };
  body.code = pick<unknown>(['000000', text(), 123456, null, ['1'], '9'.repeat(5000)]);
  if (random() < 0.5)
    body[pick(['application', 'clientIp', 'method', '__proto__', text()])] = value(0);
  const json = JSON.stringify(body);
  return random() < 0.2 ? json.slice(0, Math.floor(random() * json.length)) : json;
}

describe('hostile HTTP against a real node', () => {
  it('answers 1,000 random bodies with verdicts or 4xx problems and stays up', async () => {
    const random = seeded(20_261_122);
    const counts = new Map<number, number>();
    for (let i = 0; i < 1000; i += 20) {
      await Promise.all(
        Array.from({ length: 20 }, async () => {
          const response = await fetch(`${node.url}/api/v1/verifications`, {
            method: 'POST',
            headers: {
              authorization: `Bearer ${cluster.apiKey}`,
              'content-type': random() < 0.9 ? 'application/json' : 'text/plain',
            },
            body: randomBody(random),
            signal: AbortSignal.timeout(15_000),
          });
          const text = await response.text();
          counts.set(response.status, (counts.get(response.status) ?? 0) + 1);
          if (response.status !== 200) {
            const type = response.headers.get('content-type');
            if (!type?.startsWith('application/problem+json')) {
              throw new Error(`${response.status} as ${type}: ${text.slice(0, 200)}`);
            }
          }
        }),
      );
    }
    report('1,000 random bodies', Object.fromEntries(counts));
    expect([...counts.keys()].filter((status) => status !== 200 && status >= 500)).toEqual([]);
    expect(node.pids.workerPids).toEqual(workerPids);
  });

  it('refuses what is oversized, malformed or not HTTP, and goes on', async () => {
    const head = `POST /api/v1/verifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${cluster.apiKey}\r\nContent-Type: application/json\r\n`;
    const answers = await Promise.all([
      sendRaw(`${head}Content-Length: 200000\r\nConnection: close\r\n\r\n${'a'.repeat(200_000)}`),
      sendRaw(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`),
      sendRaw(`${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`),
      sendRaw('\u0016\u0003\u0001 this is no HTTP\r\n\r\n'),
      sendRaw(`GET /${'a'.repeat(50_000)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
    ]);
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
    await node.untilReady(15_000);
    expect(node.pids.workerPids).toEqual(workerPids);
  });

  it('drops a client that sends its request a byte at a time, and serves others meanwhile', async () => {
    const { port, hostname } = new URL(node.url);
    const startedAt = performance.now();
    let closedAt = 0;
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      closedAt = performance.now();
    });
    const drip = setInterval(() => socket.writable && socket.write('X'), 250);
    socket.write('POST /api/v1/verifications HTTP/1.1\r\nHost: x\r\nA: ');
    try {
      const { status } = await cluster
        .api(node)
        .verify({ username: 'alice', code: '000000' }, { timeoutMs: 8000 });
      expect(status).toBe(200);
      await waitFor('the slow client to be dropped', () => closedAt > 0, { timeoutMs: 30_000 });
    } finally {
      clearInterval(drip);
      socket.destroy();
    }
    // 10 s for its headers.
    expect(closedAt - startedAt).toBeLessThan(20_000);
  });

  it('tells an authorised caller that a user is unknown, and strangers nothing at all', async () => {
    const known = await cluster.api(node).verify({ username: 'nobody-here', code: '123456' });
    expect(known.body).toMatchObject({ status: 'denied', reason: 'unknown_user' });
    for (const authorization of ['', 'Bearer', 'Bearer wrong', 'Basic YTpi']) {
      const answers = await Promise.all(
        ['alice', 'nobody-here'].map(async (username) => {
          const response = await fetch(`${node.url}/api/v1/users/${username}`, {
            headers: { authorization },
          });
          return `${response.status} ${await response.text()}`;
        }),
      );
      expect(answers[0]).toMatch(/^401 /);
      expect(answers[0]).toBe(answers[1]);
    }
  });
});
