import { randomBytes } from 'node:crypto';
import { keyedHash, type GenerationKey, type PurposeKey } from '@countersign/keys';

/** Recovery codes and enrolment codes: no 0, 1, I, L, O or U, which people mistake or mind. */
const ALPHABET = '23456789ABCDEFGHJKMNPQRSTVWXYZ';
const GROUPS = 4;
const GROUP_LENGTH = 4;

/** A random one. */
export function newSpareCode(): string {
  return deriveSpareCode({ keyId: 'none', key: randomBytes(32) });
}

/**
 * 16 of 30 characters, 78 bits, as XXXX-XXXX-XXXX-XXXX. The same for the same parts: whoever made it can show it again
 * though it is stored nowhere.
 */
export function deriveSpareCode(key: GenerationKey, ...parts: string[]): string {
  let plain = '';
  for (let round = 0; plain.length < GROUPS * GROUP_LENGTH; round += 1) {
    for (const byte of keyedHash(key, ...parts, String(round))) {
      // 240 is a multiple of 30: beyond it some characters would be likelier.
      if (byte < 240) plain += ALPHABET[byte % ALPHABET.length];
    }
  }
  const group = (_: unknown, index: number) =>
    plain.slice(index * GROUP_LENGTH, (index + 1) * GROUP_LENGTH);
  return Array.from({ length: GROUPS }, group).join('-');
}

/** The code as it is compared, however it was typed; null for what cannot be one. */
export function readSpareCode(text: string): string | null {
  const plain = text.replace(/[\s-]/g, '').toUpperCase();
  if (plain.length !== GROUPS * GROUP_LENGTH) return null;
  return Array.from(plain).every((character) => ALPHABET.includes(character)) ? plain : null;
}

/** What is stored of a code: worth nothing for another user or purpose, nor without the cluster's key. */
export function spareCodeHash(
  key: PurposeKey,
  purpose: 'recovery' | 'enrolment',
  userId: string,
  code: string,
): string {
  return keyedHash(key, purpose, userId, readSpareCode(code) ?? '').toString('hex');
}
