import { describe, expect, it } from 'vitest';
import { hotp } from './otp.ts';
import { findHotpCounter, findTotpDrift } from './resynchronise.ts';

const secret = Buffer.from('12345678901234567890');
const parameters = { algorithm: 'SHA1', digits: 6 } as const;
// RFC 4226 appendix D.
const RFC_CODES = '755224 287082 359152 969429 338314 254676 287922 162583 399871 520489'.split(
  ' ',
);

describe('a HOTP counter', () => {
  it('is found by two or three codes in a row', () => {
    const about = { secret, parameters, nextCounter: 0, lookAhead: 10 };
    expect(findHotpCounter({ ...about, codes: RFC_CODES.slice(4, 6) })).toEqual({ lastCounter: 5 });
    expect(findHotpCounter({ ...about, codes: RFC_CODES.slice(7, 10) })).toEqual({
      lastCounter: 9,
    });
  });

  it('is found from the first to the last counter of the look-ahead, and no further', () => {
    const find = (first: number) =>
      findHotpCounter({ secret, parameters, nextCounter: 5000, codes: codes(first, 2) });
    expect(find(5000)).toEqual({ lastCounter: 5001 });
    expect(find(5999)).toEqual({ lastCounter: 6000 });
    expect(find(4999)).toBeNull();
    expect(find(6000)).toBeNull();
  });

  it('is not found by codes out of order, with a gap, twice the same or half right', () => {
    const find = (...given: string[]) =>
      findHotpCounter({ secret, parameters, nextCounter: 0, codes: given });
    const [zero, one, two, three] = codes(0, 4) as [string, string, string, string];
    expect(find(one, zero)).toBeNull();
    expect(find(zero, two)).toBeNull();
    expect(find(one, one)).toBeNull();
    expect(find(zero, one, three)).toBeNull();
    expect(find(zero, '')).toBeNull();
    expect(find(`${zero} `, one)).toBeNull();
  });

  it('is searched by two or three codes within 1,000 counters at most', () => {
    const about = { secret, parameters, nextCounter: 0, codes: codes(0, 2) };
    expect(() => findHotpCounter({ ...about, codes: codes(0, 1) })).toThrow(RangeError);
    expect(() => findHotpCounter({ ...about, codes: codes(0, 4) })).toThrow(RangeError);
    for (const lookAhead of [0, 1001, NaN]) {
      expect(() => findHotpCounter({ ...about, lookAhead })).toThrow(RangeError);
    }
  });
});

describe("the drift of a TOTP token's clock", () => {
  const nowMs = 1_700_000_000_000;
  const step = Math.floor(nowMs / 60_000);
  const find = (first: number, windowSteps?: number) =>
    findTotpDrift({
      secret,
      parameters,
      periodSeconds: 60,
      codes: codes(step + first, 2) as [string, string],
      nowMs,
      ...(windowSteps !== undefined && { windowSteps }),
    });

  it('is found by the last code and the one it shows now, up to 10 steps either way', () => {
    expect(find(-1)).toEqual({ driftSteps: 0, lastStep: step });
    expect(find(9)).toEqual({ driftSteps: 10, lastStep: step + 10 });
    expect(find(-11)).toEqual({ driftSteps: -10, lastStep: step - 10 });
    expect(find(10)).toBeNull();
    expect(find(-12)).toBeNull();
    expect(find(-1, 0)).toEqual({ driftSteps: 0, lastStep: step });
    expect(find(0, 0)).toBeNull();
  });

  it('is searched within 10 steps at most, by two codes', () => {
    expect(() => find(0, 11)).toThrow(RangeError);
    const three = codes(step, 3) as [string, string];
    expect(() =>
      findTotpDrift({ secret, parameters, periodSeconds: 60, codes: three, nowMs }),
    ).toThrow(RangeError);
  });
});

function codes(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => hotp(secret, first + index, parameters));
}
