import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NatsLink, type Log } from './nats-link.ts';

const silent: Log = { info() {}, warn() {} };

let nats: TestNats;

beforeAll(async () => {
  nats = await startTestNats({ servers: 3 });
}, 60_000);
afterAll(async () => nats.stop());

function connect(options: { tag?: string } = {}): NatsLink {
  const servers = nats.urls.map((url) => url.replace('nats://', ''));
  const { user, password } = nats;
  return new NatsLink({ servers, user, password, name: 'test', log: silent, ...options });
}

describe('a link to the log servers', () => {
  it('goes back to its own server when that is there again', { timeout: 60_000 }, async () => {
    const home = nats.urls[0]!.replace('nats://', '');
    await using link = connect();
    await waitFor('the connection', () => link.server === home, { timeoutMs: 20_000 });
    await nats.kill(0);
    await waitFor('another server', () => link.server !== null && link.server !== home, {
      timeoutMs: 20_000,
    });
    await nats.restart(0);
    await waitFor('its own server', () => link.server === home, { timeoutMs: 30_000 });
  });

  it('is never up at servers of another layout', async () => {
    await using foreign = connect({ tag: 'other' });
    await using own = connect();
    await waitFor('the connection', () => own.isUp, { timeoutMs: 10_000 });
    expect(await foreign.waitUntilUp(1500)).toBe(false);
    await expect(foreign.request('anything', '', { timeoutMs: 300 })).rejects.toThrow(
      /not connected/,
    );
  });
});
