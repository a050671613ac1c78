import { createHmac, randomBytes } from 'node:crypto';
import type { TextCallback } from '@countersign/api';
import { migrate, openDatabase, takeFinalOutbox, type Database } from '@countersign/database';
import { createTestDatabase } from '@countersign/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WorkerEvents } from './events.ts';
import { WorkerMetrics } from './metrics.ts';
import { TextSending } from './send-text.ts';
import { settingsWithProviders } from './testing/settings-with-providers.ts';
import { TextCallbacks } from './text-callbacks.ts';

const seedKey = { keyId: '00000000', key: randomBytes(32) };
const publicUrl = 'https://mfa.example.com/api/v1/text-callbacks/twilio';
const account = { kind: 'twilio', from: '+3197010000000', statusCallbackUrl: publicUrl };
const settings = settingsWithProviders(seedKey, [
  { ...account, name: 'first', accountSid: 'AC1', secret: 'token-1' },
  { ...account, name: 'second', accountSid: 'AC2', secret: 'token-2' },
]);

let db: Database;
let drop: () => Promise<unknown>;
beforeAll(async () => {
  const { drop: dropIt, ...connection } = await createTestDatabase();
  drop = dropIt;
  db = openDatabase({ ...connection, max: 2, applicationName: 'test' });
  await migrate(db);
}, 60_000);
afterAll(async () => {
  await db.close();
  await drop();
});
beforeEach(async () => void (await db.sql`truncate outbox`));

/** What one worker of a node takes. */
function startCallbacks(): TextCallbacks {
  const events = new WorkerEvents(db, 'node-1');
  const gauges = async () => {
    throw new Error('nobody looks');
  };
  const texts = new TextSending({
    seedKey,
    workers: 1,
    policy: { clusterAddresses: [], allowedHosts: [] },
    outbox: null,
    events,
    metrics: new WorkerMetrics({ node: 'node-1', worker: '0' }, gauges),
    log: { warn() {} },
  });
  return new TextCallbacks({
    readSettings: async () => settings,
    providersOf: (now) => texts.providersOf(now),
    events,
  });
}

function callback(fields: Record<string, string>, token: string, url = publicUrl): TextCallback {
  const sorted = Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1));
  const signed = createHmac('sha1', token).update(url + sorted.flat().join(''));
  return {
    body: new URLSearchParams(fields).toString(),
    signature: signed.digest('base64'),
  };
}

const status = (MessageSid: string, MessageStatus: string) => ({ MessageSid, MessageStatus });
const recorded = async () => (await takeFinalOutbox(db, 100)).map(({ event }) => event);

describe('what a provider tells about a text', () => {
  it('is an event once, also when it is told again and at another worker', async () => {
    const [one, other] = [startCallbacks(), startCallbacks()];
    const delivered = callback({ ...status('SM1', 'delivered'), To: '+31612345678' }, 'token-2');
    for (const worker of [one, one, other]) expect(await worker.take(delivered)).toBe('taken');
    expect(await one.take(callback(status('SM1', 'failed'), 'token-2'))).toBe('taken');
    const events = await recorded();
    expect(events).toMatchObject([
      {
        type: 'text.status',
        result: 'delivered',
        degraded: false,
        details: { provider: 'second', messageId: 'SM1', status: 'delivered' },
      },
      { type: 'text.status', result: 'failed' },
    ]);
    expect(JSON.stringify(events)).not.toContain('612345678');
  });

  it('counts only with a signature of ours over the address in the settings', async () => {
    const worker = startCallbacks();
    const fields = status('SM2', 'delivered');
    expect(await worker.take(callback(fields, 'token-3'))).toBe('refused');
    const elsewhere = callback(fields, 'token-1', 'https://evil.example.com/');
    expect(await worker.take(elsewhere)).toBe('refused');
    const genuine = callback(fields, 'token-1');
    expect(await worker.take({ ...genuine, signature: undefined })).toBe('refused');
    const changed = { ...genuine, body: genuine.body.replace('SM2', 'SM3') };
    expect(await worker.take(changed)).toBe('refused');
    expect(await recorded()).toEqual([]);
    expect(await worker.take(genuine)).toBe('taken');
  });

  it('is nothing else than a status', async () => {
    const inbound = { MessageSid: 'SM4', SmsStatus: 'received', From: '+31612345678', Body: '1' };
    expect(await startCallbacks().take(callback(inbound, 'token-1'))).toBe('malformed');
    expect(await recorded()).toEqual([]);
  });
});
