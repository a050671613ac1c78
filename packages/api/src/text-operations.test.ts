import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildApi } from './build-api.ts';
import type { OutboxEntry, TextCallback } from './ports.ts';
import { silentLogger } from './testing/silent-logger.ts';
import { MemoryPorts, startApi } from './testing/index.ts';

const taken: TextCallback[] = [];
const entries: OutboxEntry[] = [
  { kind: 'text', at: '2026-05-01T12:00:00.000Z', id: '1', to: '+3161', subject: null, text: 'x' },
];
const ports = Object.assign(new MemoryPorts(), {
  takeTextCallback: async (callback: TextCallback) => {
    taken.push(callback);
    return callback.signature === 'good' ? ('taken' as const) : ('refused' as const);
  },
  readDemoOutbox: async () => entries,
});
ports.addKey('reader', ['users:read', 'users:write']);
ports.addKey('verifier', ['verify']);
const api = buildApi(ports, { logger: silentLogger() });
let url: string;
beforeAll(async () => {
  url = await api.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => api.close());

const tell = (body: string, headers: Record<string, string>) =>
  fetch(`${url}/api/v1/text-callbacks/twilio`, { method: 'POST', body, headers });
const form = { 'content-type': 'application/x-www-form-urlencoded' };
const readOutbox = (key: string, at = url) =>
  fetch(`${at}/api/v1/demo/outbox`, { headers: { authorization: `Bearer ${key}` } });

describe('what a provider tells about texts', () => {
  it('needs no key, arrives as it was sent, and is refused unless it is signed', async () => {
    const body = 'MessageSid=SM1&MessageStatus=delivered&X=%2B1';
    const good = await tell(body, { ...form, 'x-twilio-signature': 'good' });
    expect(good.status).toBe(204);
    expect(taken.at(-1)).toEqual({ body, signature: 'good' });
    expect((await tell(body, form)).status).toBe(403);
  });

  it('is a form of at most 16 KiB, and forms go nowhere else', async () => {
    const before = taken.length;
    expect((await tell(`a=${'x'.repeat(16_384)}`, form)).status).toBe(413);
    expect((await tell('{}', { 'content-type': 'text/plain' })).status).toBe(415);
    expect(taken).toHaveLength(before);
    const headers = { ...form, authorization: 'Bearer reader' };
    const elsewhere = await fetch(`${url}/api/v1/users`, { method: 'POST', body: 'a=b', headers });
    expect(elsewhere.status).toBe(415);
  });
});

describe('the outbox of a demo', () => {
  it('is for those who may read users', async () => {
    const answer = await readOutbox('reader');
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({ entries });
    expect((await readOutbox('verifier')).status).toBe(403);
    expect((await readOutbox('nobody')).status).toBe(401);
  });

  it('does not exist anywhere else', async () => {
    const other = await startApi();
    expect((await readOutbox('all', other.url)).status).toBe(404);
    const callback = await fetch(`${other.url}/api/v1/text-callbacks/twilio`, { method: 'POST' });
    expect(callback.status).toBe(404);
    await other.close();
  });
});
