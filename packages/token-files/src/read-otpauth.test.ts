import { OTP_ALGORITHMS, encodeBase32, otpauthUri } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { TokenFileError, readOtpauth } from './index.ts';

const SECRET = Buffer.from('12345678901234567890');
const BASE32 = encodeBase32(SECRET);
const uri = (parameters: string, label = 'alice', type = 'totp') =>
  `otpauth://${type}/${label}?secret=${BASE32}${parameters}`;

describe('an otpauth URI', () => {
  it('comes back as it was made, for every algorithm, length and type', () => {
    for (const algorithm of OTP_ALGORITHMS) {
      for (const digits of [6, 7, 8] as const) {
        const common = { secret: SECRET, algorithm, digits };
        for (const moves of [
          { type: 'totp', periodSeconds: 30 },
          { type: 'totp', periodSeconds: 60 },
          { type: 'hotp', initialCounter: 0 },
          { type: 'hotp', initialCounter: 2 ** 48 },
        ] as const) {
          const issuer = 'Example & Söhne: 100% + "VPN"';
          const text = otpauthUri({ issuer, account: 'alice+x@example.com', ...common, ...moves });
          expect(readOtpauth(text)).toEqual({
            issuer,
            token: { username: 'alice+x@example.com', ...common, ...moves },
          });
        }
      }
    }
  });

  it("has the format's defaults", () => {
    expect(readOtpauth(`  ${uri('')}\n`)).toEqual({
      token: {
        type: 'totp',
        username: 'alice',
        secret: SECRET,
        algorithm: 'SHA1',
        digits: 6,
        periodSeconds: 30,
      },
    });
  });

  it.each([
    ['plain', 'Example:alice'],
    ['escaped', 'Example%3A%20alice'],
    ['with a space', 'Example:%20alice'],
  ])('may name its issuer in the label, the colon %s', (_, label) => {
    const { issuer, token } = readOtpauth(uri('&image=x&color=red', label));
    expect(issuer).toBe('Example');
    expect(token.username).toBe('alice');
  });

  it.each([
    ['nothing', '', 'not an otpauth:// URI'],
    ['a web address', 'https://example.com/?secret=AAAA', 'not an otpauth:// URI'],
    ['another type', uri('', 'alice', 'motp'), 'the type is not totp or hotp'],
    ['no account', uri('', ''), 'a username cannot be empty'],
    ['only an issuer', uri('', 'Example:'), 'a username cannot be empty'],
    ['a broken label', uri('', '%ff'), 'the label is not UTF-8'],
    ['a hidden character in the label', uri('', 'al%E2%80%AEice'), 'no control or invisible'],
    ['a line break', uri('', 'al\nice'), 'control or invisible characters'],
    ['a port', uri('').replace('totp/', 'totp:1/'), 'nothing else'],
    ['a fragment', uri('#x'), 'nothing else'],
    ['a long issuer', uri(`&issuer=${'x'.repeat(257)}`), 'the issuer has more than 256 bytes'],
    ['no secret', 'otpauth://totp/alice', 'the secret is of no use'],
    ['a weak secret', 'otpauth://totp/alice?secret=JBSWY3DPEHPK3PXP', 'at least 128 bits'],
    ['a secret that is not base32', `${uri('')}1`, 'secret: not base32'],
    ['two secrets', uri('&secret=AAAA'), 'secret is given twice'],
    ['another algorithm', uri('&algorithm=MD5'), 'algorithm is not SHA1, SHA256 or SHA512'],
    ['5 digits', uri('&digits=5'), 'digits is not 6, 7 or 8'],
    ['digits in hex', uri('&digits=0x6'), 'digits is not 6, 7 or 8'],
    ['a period of 15 s', uri('&period=15'), 'period is not 30 or 60'],
    ['no counter', uri('', 'alice', 'hotp'), 'counter is not a number from 0 to 2^48'],
    ['a counter below 0', uri('&counter=-1', 'alice', 'hotp'), 'counter is not a number'],
    ['a counter beyond 2^48', uri(`&counter=${2 ** 48 + 1}`, 'alice', 'hotp'), 'counter is not'],
    ['2,049 characters', `${uri('')}&x=${'y'.repeat(2048)}`, 'the URI is too long'],
  ])('is refused with %s, without repeating its secret', (_, text, message) => {
    expect(() => readOtpauth(text)).toThrow(message);
    expect(() => readOtpauth(text)).toThrow(TokenFileError);
    expect(() => readOtpauth(text)).not.toThrow(BASE32);
  });
});
