import { seededRandom } from '@countersign/verification/seeded-random';
import type { Random } from '@countersign/verification/seeded-random';
import { encodeBase32 } from '@countersign/verification';
import { describe, expect, it, vi } from 'vitest';
import { TokenFileError, readOtpauth, readPskc, readTokenCsv, writeErrorCsv } from './index.ts';
import type { ImportedToken, ReadTokens } from './index.ts';
import { writePskc } from './testing/write-pskc.ts';

// A million takes minutes: `npm run soak -- --fuzz`.
const IS_LONG = process.env.COUNTERSIGN_LONG === '1';
const INPUTS = IS_LONG ? 1_000_000 : 20_000;
vi.setConfig({ testTimeout: IS_LONG ? 1_800_000 : 120_000 });
const SECRET = Buffer.from('12345678901234567890');
const BASE32 = encodeBase32(SECRET);
const BASE64 = SECRET.toString('base64');

describe(`${INPUTS} broken files`, () => {
  it('of the CSV kind are read, given back or refused, and show no secret', () => {
    const csv =
      'upn,serial number,secret key,time interval,manufacturer,model\r\n' +
      `alice@example.com,1,${BASE32},30,"A ""B""",C\r\n` +
      'bob,2,JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP,60,,\r\n';
    const outcomes = tryAll({ seed: 61, from: csv }, (text) => {
      const read = readTokenCsv(text);
      if (read.refused.length > 0) expectNoSecret(writeErrorCsv(read.refused, 'line'));
      return read;
    });
    expect(Math.min(outcomes.read, outcomes.refused, outcomes.thrown)).toBeGreaterThan(1000);
  });

  it('of the PSKC kind are read, given back or refused, and show no secret', async () => {
    const preSharedKey = Buffer.alloc(16, 1);
    const plain = writePskc([
      { secret: SECRET, data: '<Counter><PlainValue>5</PlainValue></Counter>' },
    ]);
    const sealed = writePskc([{ secret: SECRET }], { key: preSharedKey, mac: 'sha1' });
    const random = seededRandom(62);
    const outcomes = { read: 0, refused: 0, thrown: 0 };
    for (let round = 0; round < INPUTS; round += 1) {
      const isSealed = round % 4 === 0;
      const text = mutate(isSealed ? sealed : plain, random);
      const read = await readPskc(text, { preSharedKey }).catch(expectTokenFileError);
      count(outcomes, read);
      if (!read) continue;
      if (read.refused.length > 0) expectNoSecret(writeErrorCsv(read.refused, 'key'));
      // Whatever else changed, a sealed secret is the one that was sealed.
      if (!isSealed) continue;
      for (const { token } of read.tokens) {
        if (!token.secret.equals(SECRET))
          throw new Error(`another secret in round ${round}: ${text}`);
      }
    }
    expect(Math.min(outcomes.read, outcomes.refused, outcomes.thrown)).toBeGreaterThan(100);
  });

  it('of the otpauth kind are read or refused, and show no secret', () => {
    const uri = `otpauth://hotp/Ex%3Aalice?secret=${BASE32}&issuer=Ex&algorithm=SHA256&digits=8&counter=12`;
    const outcomes = tryAll({ seed: 63, from: uri }, (text) => ({
      tokens: [{ at: 1, token: readOtpauth(text).token }],
      refused: [],
    }));
    expect(Math.min(outcomes.read, outcomes.thrown)).toBeGreaterThan(1000);
  });
});

type Outcomes = { read: number; refused: number; thrown: number };

function tryAll(
  about: { seed: number; from: string },
  read: (text: string) => ReadTokens,
): Outcomes {
  const random = seededRandom(about.seed);
  const outcomes = { read: 0, refused: 0, thrown: 0 };
  for (let round = 0; round < INPUTS; round += 1) {
    const text = mutate(about.from, random);
    try {
      count(outcomes, read(text));
    } catch (error) {
      expectTokenFileError(error);
      count(outcomes, undefined);
    }
  }
  return outcomes;
}

function count(outcomes: Outcomes, read: ReadTokens | undefined): void {
  if (!read) outcomes.thrown += 1;
  else if (read.refused.length > 0) outcomes.refused += 1;
  else outcomes.read += 1;
  for (const { token } of read?.tokens ?? []) expectBounds(token);
}

function expectTokenFileError(error: unknown): undefined {
  if (!(error instanceof TokenFileError)) throw error;
  expectNoSecret(error.message);
  if (error.message.length > 200) throw new Error(`a long message: ${error.message}`);
}

// Plain comparisons: 60,000 × expect would take longer than the readers.
function expectNoSecret(text: string): void {
  if (text.toUpperCase().includes(BASE32) || text.includes(BASE64)) {
    throw new Error(`a secret in: ${text}`);
  }
}

function expectBounds(token: ImportedToken): void {
  const isWithin =
    token.secret.length >= 16 &&
    token.secret.length <= 80 &&
    [6, 7, 8].includes(token.digits) &&
    ['SHA1', 'SHA256', 'SHA512'].includes(token.algorithm) &&
    [token.username, token.serial, token.manufacturer, token.model].every(
      (name) => name === undefined || (name.length > 0 && Buffer.byteLength(name) <= 256),
    ) &&
    (token.type === 'totp'
      ? [30, 60].includes(token.periodSeconds)
      : Number.isSafeInteger(token.initialCounter) && token.initialCounter >= 0);
  if (!isWithin) throw new Error(`out of bounds: ${JSON.stringify(token)}`);
}

const PIECES = [
  ...',;"\'<>&/=:%?#\t\r\n\0 -@A0٣é'.split(''),
  '\u202e',
  '\ud800',
  '<!--',
  '-->',
  '<![CDATA[',
  ']]>',
  '<!DOCTYPE a>',
  '&#0;',
  '&#x41;',
  '%00',
  '99999999999999999999',
  '__proto__',
  '""',
];

/** One to four changes: a piece put in, a stretch removed, doubled or moved, characters replaced. */
function mutate(text: string, random: Random): string {
  let mutated = text;
  for (let changes = 1 + random(4); changes > 0; changes -= 1) {
    const at = random(mutated.length + 1);
    const end = Math.min(mutated.length, at + 1 + random(random(4) === 0 ? 60 : 3));
    const stretch = mutated.slice(at, end);
    const [before, after] = [mutated.slice(0, at), mutated.slice(end)];
    const kind = random(5);
    if (kind === 0) mutated = before + PIECES[random(PIECES.length)]! + mutated.slice(at);
    else if (kind === 1) mutated = before + after;
    else if (kind === 2) mutated = before + stretch + stretch + after;
    else if (kind === 3) mutated = before + PIECES[random(PIECES.length)]! + after;
    else mutated = after.slice(0, random(after.length + 1)) + before + stretch;
  }
  return mutated;
}
