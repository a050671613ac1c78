import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Base32Error, decodeBase32, encodeBase32 } from './base32.ts';
import { otpauthUri } from './otpauth-uri.ts';

describe('base32', () => {
  it.each([
    ['', ''],
    ['f', 'MY======'],
    ['fo', 'MZXQ===='],
    ['foo', 'MZXW6==='],
    ['foob', 'MZXW6YQ='],
    ['fooba', 'MZXW6YTB'],
    ['foobar', 'MZXW6YTBOI======'],
  ])('has the value of RFC 4648 section 10 for "%s"', (text, padded) => {
    expect(encodeBase32(Buffer.from(text))).toBe(padded.replaceAll('=', ''));
    expect(decodeBase32(padded).toString()).toBe(text);
  });

  it('comes back for every length up to 80 bytes', () => {
    for (let length = 0; length <= 80; length += 1) {
      const bytes = randomBytes(length);
      expect(decodeBase32(encodeBase32(bytes))).toEqual(bytes);
    }
  });

  it('is read in any case, with spaces, with padding or without', () => {
    expect(decodeBase32(' mzxw 6ytb\toi == ').toString()).toBe('foobar');
  });

  it.each([
    ['a digit it does not have', 'MZXW6YT1'],
    ['padding in the middle', 'MZ=XW6YT'],
    ['seven padding characters', 'MY======='],
    ['one character', 'M'],
    ['three characters', 'MZX'],
    ['six characters', 'MZXW6Y'],
    ['129 characters', 'A'.repeat(129)],
    ['a huge text', ' '.repeat(100_000)],
    ['letters outside ASCII', 'MZXW6YTı'],
  ])('is refused with %s, without repeating it', (_, text) => {
    expect(() => decodeBase32(text)).toThrow(Base32Error);
    expect(() => decodeBase32(text)).not.toThrow(text);
  });
});

describe('the otpauth URI', () => {
  const common = {
    issuer: 'Example & Co: VPN',
    account: 'alice@example.com',
    secret: Buffer.from('12345678901234567890'),
    algorithm: 'SHA256',
    digits: 8,
  } as const;

  it('carries what an app needs, escaped', () => {
    expect(otpauthUri({ ...common, type: 'totp', periodSeconds: 60 })).toBe(
      'otpauth://totp/Example%20%26%20Co%20%20VPN:alice%40example.com' +
        '?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Example%20%26%20Co%3A%20VPN' +
        '&algorithm=SHA256&digits=8&period=60',
    );
  });

  it('carries the counter of an HOTP token', () => {
    const uri = new URL(otpauthUri({ ...common, type: 'hotp', initialCounter: 7 }));
    expect(uri.host).toBe('hotp');
    expect(uri.searchParams.get('counter')).toBe('7');
    expect(uri.searchParams.has('period')).toBe(false);
  });

  it('survives a broken surrogate in a name', () => {
    const uri = otpauthUri({ ...common, account: 'a\ud800', type: 'totp', periodSeconds: 30 });
    expect(() => new URL(uri)).not.toThrow();
  });
});
