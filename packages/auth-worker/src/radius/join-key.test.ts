import { makeAttribute } from '@countersign/radius';
import { describe, expect, it } from 'vitest';
import { joinKeys } from './join-key.ts';

const key = { keyId: '00000000', key: Buffer.alloc(32, 7) };
const station = (text: string) => makeAttribute('Calling-Station-Id', text);
const request = {
  code: 1,
  authenticator: Buffer.alloc(16, 1),
  attributes: [
    makeAttribute('User-Name', 'alice'),
    { type: 2, value: Buffer.alloc(16, 3) },
    station('laptop'),
  ],
  password: Buffer.from('secret'),
};
const keysAt = (nowMs: number, changed: Partial<typeof request> = {}, clientId = 'vpn') =>
  joinKeys(key, { ...request, ...changed }, { clientId, nowMs, waitSeconds: 30 });
const all = ({ idempotencyKey, resentKeys }: ReturnType<typeof joinKeys>) => [
  idempotencyKey,
  ...resentKeys,
];

describe('join keys', () => {
  it('are the same for a sign-in that is sent again with another authenticator', () => {
    const authenticator = Buffer.alloc(16, 2);
    const attributes = request.attributes.with(1, { type: 2, value: Buffer.alloc(16, 4) });
    expect(keysAt(5000, { authenticator, attributes })).toEqual(keysAt(5000));
  });

  it('know a resend within 10 s by the key it had, on whichever side of a boundary', () => {
    for (let at = 20_000; at < 30_000; at += 999) {
      for (const later of [0, 1, 3000, 9999]) {
        expect(all(keysAt(at + later))).toContain(keysAt(at).idempotencyKey);
        expect(all(keysAt(at))).toContain(keysAt(at + later).idempotencyKey);
      }
    }
  });

  it('have nothing in common with the same sign-in later', () => {
    const later = all(keysAt(40_000));
    expect(later).not.toContain(keysAt(20_000).idempotencyKey);
  });

  it('of somebody who can be told apart reach back as long as an answer is waited for', () => {
    const { lastingKeys } = keysAt(60_000);
    expect(lastingKeys).toContain(keysAt(30_000).idempotencyKey);
    expect(lastingKeys).not.toContain(keysAt(-20_000).idempotencyKey);
    const attributes = request.attributes.slice(0, 2);
    expect(keysAt(60_000, { attributes }).lastingKeys).toEqual([]);
  });

  it('reach as far whichever of two nodes that may verify is ahead of the other', () => {
    for (const apartMs of [-40_000, -15_000, 0, 15_000, 40_000]) {
      const { lastingKeys } = keysAt(60_000 + apartMs + 25_000);
      expect(lastingKeys).toContain(keysAt(60_000).idempotencyKey);
    }
  });

  it.each([
    ['another station', keysAt(0, { attributes: request.attributes.with(2, station('phone')) })],
    ['another password', keysAt(0, { password: Buffer.from('Secret') })],
    ['another client', keysAt(0, {}, 'rdg')],
  ])('of %s have nothing in common', (_what, other) => {
    const own = all(keysAt(0));
    expect(all(other).some((one) => own.includes(one))).toBe(false);
  });

  it('show nothing of what was typed', () => {
    expect(JSON.stringify(keysAt(0))).not.toMatch(/secret|alice/);
  });
});
