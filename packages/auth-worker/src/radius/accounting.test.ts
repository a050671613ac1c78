import { randomUUID } from 'node:crypto';
import { makeAttribute, type ServerRequest } from '@countersign/radius';
import type { RadiusClientDocument } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { RadiusAccounting } from './accounting.ts';

const id = randomUUID();
const document = { id, name: 'vpn', application: 'vpn', callingStation: 'text' };
const client = { document: document as RadiusClientDocument, language: 'en', replies: [] };

function request(session: string, status = 1): ServerRequest {
  return {
    service: 'accounting',
    code: 4,
    identifier: 1,
    authenticator: Buffer.alloc(16),
    attributes: [
      makeAttribute('User-Name', 'al\u202eice'),
      makeAttribute('Acct-Status-Type', status),
      makeAttribute('Acct-Session-Id', session),
    ],
    password: null,
    from: { address: '127.0.0.1', port: 1 },
  };
}

function begin() {
  const recorded: { id: string; username: string | null }[] = [];
  let isAway = false;
  const accounting = new RadiusAccounting({
    async radiusAccounting(eventId, { username }) {
      if (isAway) throw new Error('away');
      recorded.push({ id: eventId, username });
    },
  });
  return { accounting, recorded, setAway: (away: boolean) => void (isAway = away) };
}

describe('accounting', () => {
  it('records a status of a session once, under the same id on every node, escaped', async () => {
    const [one, two] = [begin(), begin()];
    for (const { accounting } of [one, one, two]) {
      expect(await accounting.take(request('a'), client)).toMatchObject({ code: 5 });
    }
    expect(one.recorded).toHaveLength(1);
    expect(two.recorded).toEqual(one.recorded);
    expect(one.recorded[0]?.username).not.toContain('\u202e');
    await one.accounting.take(request('a', 2), client);
    await one.accounting.take(request('b'), client);
    expect(new Set(one.recorded.map((event) => event.id)).size).toBe(3);
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
