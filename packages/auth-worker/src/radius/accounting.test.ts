import { randomUUID } from 'node:crypto';
import { makeAttribute, type Attribute, type ServerRequest } from '@countersign/radius';
import type { RadiusClientDocument } from '@countersign/verification';
import { describe, expect, it, vi } from 'vitest';
import { RadiusAccounting } from './accounting.ts';

const id = randomUUID();
const document = { id, name: 'vpn', application: 'vpn', callingStation: 'text' };
const client = {
  document: document as RadiusClientDocument,
  language: 'en',
  recordsAddresses: true,
  replies: [],
};

function request(session: string, status = 1, more: Attribute[] = []): ServerRequest {
  return {
    service: 'accounting',
    code: 4,
    identifier: 1,
    authenticator: Buffer.alloc(16),
    attributes: [
      makeAttribute('User-Name', 'al\u202eice'),
      makeAttribute('Acct-Status-Type', status),
      makeAttribute('Acct-Session-Id', session),
      ...more,
    ],
    password: null,
    from: { address: '127.0.0.1', port: 1 },
  };
}

function begin() {
  const recorded: { id: string; username: string | null; details: object }[] = [];
  let isAway = false;
  const accounting = new RadiusAccounting({
    events: {
      async radiusAccounting(eventId, { who, details }) {
        if (isAway) throw new Error('away');
        recorded.push({ id: eventId, username: who?.username ?? null, details });
      },
    },
    whoIs: async (username) => ({ userId: null, username }),
  });
  return { accounting, recorded, setAway: (away: boolean) => void (isAway = away) };
}

describe('accounting', () => {
  it('records a status of a session once, under the same id on every node, escaped', async () => {
    const [one, two] = [begin(), begin()];
    // Another day it would be another session.
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-01-05T10:05:00Z') });
    try {
      for (const { accounting } of [one, one, two]) {
        expect(await accounting.take(request('a'), client)).toMatchObject({ code: 5 });
      }
    } finally {
      vi.useRealTimers();
    }
    expect(one.recorded).toHaveLength(1);
    expect(two.recorded).toEqual(one.recorded);
    expect(one.recorded[0]?.username).not.toContain('\u202e');
    await one.accounting.take(request('a', 2), client);
    await one.accounting.take(request('b'), client);
    expect(new Set(one.recorded.map((event) => event.id)).size).toBe(3);
  });

  it('says of a session where, how long, how much, also beyond 4 GiB, and why it ended', async () => {
    const { accounting, recorded } = begin();
    const told = [
      makeAttribute('NAS-IP-Address', '192.0.2.1'),
      makeAttribute('Calling-Station-Id', '198.51.100.7'),
      makeAttribute('Framed-IP-Address', '10.8.0.2'),
      makeAttribute('Acct-Session-Time', 3600),
      makeAttribute('Acct-Input-Octets', 7),
      makeAttribute('Acct-Input-Gigawords', 3),
      makeAttribute('Acct-Output-Octets', 9),
      makeAttribute('Acct-Terminate-Cause', 4),
      makeAttribute('Acct-Delay-Time', 30),
    ];
    await accounting.take(request('a', 2, told), client);
    const common = { status: 'stop', session: 'a', nas: '192.0.2.1', seconds: 3600 };
    const measured = {
      inputBytes: 3 * 2 ** 32 + 7,
      outputBytes: 9,
      terminateCause: 'idle timeout',
    };
    const where = { station: '198.51.100.7', address: '10.8.0.2' };
    expect(recorded[0]?.details).toEqual({ ...common, ...where, ...measured, delaySeconds: 30 });
    await accounting.take(request('b', 2, told), { ...client, recordsAddresses: false });
    expect(recorded[1]?.details).toEqual({
      ...common,
      session: 'b',
      ...measured,
      delaySeconds: 30,
    });
  });

  it('bounds and escapes whatever text there is, and shows in hex what is none', async () => {
    const { accounting, recorded } = begin();
    const bytes = [makeAttribute('NAS-Identifier', Buffer.from([0xff, 0xfe, 0x1b]))];
    const long = '\u001b'.repeat(200);
    await accounting.take(request(long, 1, bytes), client);
    const { session, nas } = recorded[0]!.details as { session: string; nas: string };
    expect(session).toMatch(/^(\\u\{1b\})+…$/);
    expect(session.length).toBeLessThanOrEqual(256);
    expect(nas).toBe('0xfffe1b');
  });

  it('records a NAS that starts each time it does, however often it says so', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-01-05T10:05:00Z') });
    try {
      const { accounting, recorded } = begin();
      const later = (delay: number) => request('0', 7, [makeAttribute('Acct-Delay-Time', delay)]);
      await accounting.take(request('0', 7), client);
      vi.setSystemTime(new Date('2026-01-05T10:12:00Z'));
      await accounting.take(later(7 * 60), client);
      expect(recorded).toHaveLength(1);
      await accounting.take(request('0', 7), client);
      expect(recorded).toHaveLength(2);
    } finally {
      vi.useRealTimers();
    }
  });

  it('of a client that floods leaves the others room', async () => {
    const { accounting } = begin();
    for (let number = 0; number < 2000; number += 1) {
      await accounting.take(request(`${number}`), client);
    }
    const other = { ...client, document: { ...client.document, id: randomUUID() } };
    expect(await accounting.take(request('its own'), other)).toMatchObject({ code: 5 });
  });

  it('of devices that name themselves differently is not one session, whatever number they give it', async () => {
    const { accounting, recorded } = begin();
    const devices = [
      makeAttribute('NAS-Identifier', 'vpn-1'),
      makeAttribute('NAS-IP-Address', '192.0.2.1'),
      makeAttribute('NAS-IPv6-Address', '2001:db8::1'),
      makeAttribute('NAS-IPv6-Address', '2001:db8::2'),
    ];
    for (const device of devices) await accounting.take(request('a', 1, [device]), client);
    expect(new Set(recorded.map((event) => event.id)).size).toBe(devices.length);
  });

  it('is not answered while it cannot be recorded, and is recorded when it comes again', async () => {
    const { accounting, recorded, setAway } = begin();
    setAway(true);
    await expect(accounting.take(request('a'), client)).rejects.toThrow('away');
    setAway(false);
    expect(await accounting.take(request('a'), client)).toMatchObject({ code: 5 });
    expect(recorded).toHaveLength(1);
  });

  it('of a client that floods is dropped beyond the bound', async () => {
    const { accounting, recorded } = begin();
    let dropped = 0;
    for (let number = 0; number < 5000; number += 1) {
      if ((await accounting.take(request(`${number}`), client)) === 'drop') dropped += 1;
    }
    expect(dropped).toBeGreaterThan(2000);
    expect(recorded.length + dropped).toBe(5000);
  });
});
