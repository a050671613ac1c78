import { randomInt } from 'node:crypto';
import { keyedHash, type PurposeKey } from '@countersign/keys';

/** Recovery codes and enrolment codes: no 0, 1, I, L, O or U, which people mistake or mind. */
const ALPHABET = '23456789ABCDEFGHJKMNPQRSTVWXYZ';
const GROUPS = 4;
const GROUP_LENGTH = 4;

/** 16 of 30 characters, 78 bits, as XXXX-XXXX-XXXX-XXXX. */
export function newSpareCode(): string {
  const group = () =>
    Array.from({ length: GROUP_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
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
