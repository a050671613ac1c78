import { describe, expect, it } from 'vitest';
import { checkSecret, codesEqual, generateSecret, hotp, totpStep } from './otp.ts';
import type { OtpAlgorithm } from './otp.ts';

const SEEDS: Record<OtpAlgorithm, Buffer> = {
  SHA1: Buffer.from('12345678901234567890'),
  SHA256: Buffer.from('12345678901234567890123456789012'),
  SHA512: Buffer.from('1234567890123456789012345678901234567890123456789012345678901234'),
};

describe('HOTP', () => {
  it('gives the values of RFC 4226 appendix D, in 6, 7 and 8 digits', () => {
    const truncated = [
      1284755224, 1094287082, 137359152, 1726969429, 1640338314, 868254676, 1918287922, 82162583,
      673399871, 645520489,
    ];
    const codes = '755224 287082 359152 969429 338314 254676 287922 162583 399871 520489';
    expect(truncated.map((_, counter) => code(counter, 6)).join(' ')).toBe(codes);
    for (const [counter, value] of truncated.entries()) {
      expect(code(counter, 7)).toBe(String(value).slice(-7));
      expect(code(counter, 8)).toBe(String(value).slice(-8).padStart(8, '0'));
    }
  });

  it('takes counters beyond 32 bits', () => {
    expect(code(2 ** 32, 6)).not.toBe(code(0, 6));
    expect(code(2 ** 48 + 10, 6)).toMatch(/^\d{6}$/);
  });
});

describe('TOTP', () => {
  const times = [59, 1111111109, 1111111111, 1234567890, 2000000000, 20000000000];
  it.each([
    ['SHA1', '94287082 07081804 14050471 89005924 69279037 65353130'],
    ['SHA256', '46119246 68084774 67062674 91819424 90698825 77737706'],
    ['SHA512', '90693936 25091201 99943326 93441116 38618901 47863826'],
  ] as const)('gives the values of RFC 6238 appendix B with %s', (algorithm, codes) => {
    const given = times.map((seconds) =>
      hotp(SEEDS[algorithm], totpStep(seconds * 1000, 30), { algorithm, digits: 8 }),
    );
    expect(given.join(' ')).toBe(codes);
  });

  it('begins a step at each multiple of the period', () => {
    expect(totpStep(29_999, 30)).toBe(0);
    expect(totpStep(30_000, 30)).toBe(1);
    expect(totpStep(59_999, 60)).toBe(0);
    expect(totpStep(20_000_000_000_000, 30)).toBe(0x27bc86aa);
  });
});

describe('comparing codes', () => {
  it('accepts only the very same digits', () => {
    expect(codesEqual('012345', '012345')).toBe(true);
    expect(codesEqual('012345', '012346')).toBe(false);
    for (const other of ['', '12345', '0123456', '012345 ', '٠١٢٣٤٥', '01234é']) {
      expect(codesEqual('012345', other)).toBe(false);
    }
  });
});

describe('secrets', () => {
  it('have 128 to 640 bits', () => {
    expect(checkSecret(Buffer.alloc(15))).toMatch('128 bits');
    expect(checkSecret(Buffer.alloc(16))).toBeNull();
    expect(checkSecret(Buffer.alloc(80))).toBeNull();
    expect(checkSecret(Buffer.alloc(81))).toMatch('128 base32 characters');
  });

  it('are made with 160 random bits', () => {
    expect(generateSecret().length).toBe(20);
    expect(generateSecret().equals(generateSecret())).toBe(false);
  });
});

function code(counter: number, digits: 6 | 7 | 8): string {
  return hotp(SEEDS.SHA1, counter, { algorithm: 'SHA1', digits });
}
