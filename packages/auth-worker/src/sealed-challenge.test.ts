import { randomBytes, randomUUID } from 'node:crypto';
import { METHOD_TABLE } from '@countersign/verification';
import { seededRandom } from '@countersign/verification/seeded-random';
import { describe, expect, it, vi } from 'vitest';
import {
  CHALLENGE_MAX_BYTES,
  CHALLENGE_PURPOSES,
  openChallenge,
  sealChallenge,
  type Challenge,
} from './sealed-challenge.ts';

// A million takes minutes: `npm run soak -- --fuzz`.
const IS_LONG = process.env.COUNTERSIGN_LONG === '1';
const INPUTS = IS_LONG ? 1_000_000 : 20_000;
if (IS_LONG) vi.setConfig({ testTimeout: 1_800_000 });
const key = { keyId: '00000000', key: randomBytes(32) };
const issuedAt = Date.parse('2026-05-01T12:00:00.000Z');
const challenge: Challenge = {
  id: randomUUID(),
  userId: randomUUID(),
  purpose: 'sign-in',
  door: 'http',
  clientId: 'client',
  application: 'VPN',
  station: 'nas-1 aa-bb',
  incarnation: { number: 3, id: randomUUID() },
  row: METHOD_TABLE.find(({ mode }) => mode === 'otp')!,
  firstFactor: { target: 'directory', at: issuedAt - 2000 },
  code: '314159',
  issuedAt,
  expiresAt: issuedAt + 300_000,
};
const sealed = sealChallenge(key, challenge);
const opened = (text: string, expected: Partial<Challenge> = {}) =>
  openChallenge(key, text, { ...challenge, ...expected });

describe('a sealed challenge', () => {
  it('opens to what was sealed, and fits its bound', () => {
    const opening = opened(sealed);
    if (opening.kind !== 'opened') throw new Error(opening.reason);
    expect(opening.challenge).toMatchObject({
      id: challenge.id,
      userId: challenge.userId,
      row: { method: 'text', mode: 'otp' },
      firstFactorAt: challenge.firstFactor!.at,
      issuedAt,
      expiresAt: challenge.expiresAt,
    });
    expect(opening.challenge.isSentCode('314159')).toBe(true);
    expect(opening.challenge.isSentCode('314158')).toBe(false);
    expect(Buffer.from(sealed, 'base64url').length).toBeLessThanOrEqual(CHALLENGE_MAX_BYTES);
  });

  it('has no code that is right where none was sent', () => {
    const opening = opened(sealChallenge(key, { ...challenge, code: null }));
    if (opening.kind !== 'opened') throw new Error(opening.reason);
    for (const code of ['', '0', '314159']) {
      expect(opening.challenge.isSentCode(code)).toBe(false);
    }
  });

  it('is bound to everything it was asked for (rule 6)', () => {
    const cases: [Partial<Challenge>, string][] = [
      [{ door: 'web' }, 'challenge_front_door'],
      [{ clientId: 'other' }, 'challenge_client'],
      [{ station: 'nas-2 aa-bb' }, 'challenge_client'],
      [{ application: null }, 'challenge_application'],
      [{ incarnation: { ...challenge.incarnation, number: 4 } }, 'challenge_incarnation'],
      [{ incarnation: { number: 3, id: randomUUID() } }, 'challenge_incarnation'],
      [{ id: randomUUID() }, 'challenge_damaged'],
    ];
    for (const [expected, reason] of cases) {
      expect(opened(sealed, expected)).toEqual({ kind: 'refused', reason });
    }
    for (const purpose of CHALLENGE_PURPOSES.slice(1)) {
      const reason = 'challenge_purpose';
      expect(opened(sealed, { purpose })).toEqual({ kind: 'refused', reason });
    }
  });

  it('does not open under another key, nor after any of its bits was turned', () => {
    const other = { keyId: '00000001', key: randomBytes(32) };
    const reason = 'challenge_damaged';
    expect(openChallenge(other, sealed, challenge)).toEqual({ kind: 'refused', reason });
    const bytes = Buffer.from(sealed, 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const turned = Buffer.from(bytes);
      turned[bit >> 3]! ^= 1 << (bit & 7);
      expect(opened(turned.toString('base64url'))).toEqual({ kind: 'refused', reason });
    }
  });

  it('opens under whichever generation of the key sealed it, and knows the code that was sent', () => {
    const next = { keyId: '00000001', key: randomBytes(32) };
    const rings = [
      { ...key, others: [next] },
      { ...next, others: [key] },
    ];
    for (const generation of [key, next]) {
      const text = sealChallenge(generation, challenge);
      for (const ring of rings) {
        const opening = openChallenge(ring, text, challenge);
        expect(opening.kind === 'opened' && opening.challenge.isSentCode(challenge.code!)).toBe(
          true,
        );
        const other = { kind: 'refused', reason: 'challenge_client' };
        expect(openChallenge(ring, text, { ...challenge, clientId: 'other' })).toEqual(other);
      }
    }
    const retired = openChallenge(next, sealed, challenge);
    expect(retired).toEqual({ kind: 'refused', reason: 'challenge_damaged' });
  });

  it(`refuses ${INPUTS} mutated texts without a throw`, () => {
    const below = seededRandom(20_260_501);
    for (let round = 0; round < INPUTS; round += 1) {
      const characters = Array.from(sealed);
      for (let change = 0; change <= below(4); change += 1) {
        const at = below(characters.length);
        const piece = String.fromCodePoint(below(0x2ff));
        characters.splice(at, below(3), ...(below(2) === 0 ? [piece] : []));
      }
      const text = characters.join('');
      if (text === sealed) continue;
      expect(opened(text).kind).toBe('refused');
    }
  });
});
