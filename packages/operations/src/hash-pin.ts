import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { firstOf, keyedHash, open, seal, type PurposeKey } from '@countersign/keys';
import type { PinHash } from '@countersign/verification';

const SALT_BYTES = 16;
const HASH_BYTES = 32;
// A few milliseconds: four digits are kept by the cluster's key, not by the hash.
const COST = { memory: 4096, passes: 1, parallelism: 1, tagLength: HASH_BYTES };

const runArgon2 = promisify(argon2);

/**
 * Argon2id (RFC 9106) of the PIN's HMAC under the cluster's first key; computed off the event loop. Once that is not
 * the active one any more the hash is sealed as well, so that it can be brought under the next key without the PIN.
 */
export async function hashPin(key: PurposeKey, userId: string, pin: string): Promise<PinHash> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await argonOf(key, userId, pin, salt);
  return { salt: salt.toString('base64'), hash: sealPin(key, userId, hash).toString('base64') };
}

/** The same hash under the active key. @throws KeyError where it was sealed under a key that is not known */
export function resealPin(key: PurposeKey, userId: string, stored: PinHash): PinHash {
  const hash = sealPin(key, userId, bareHash(key, userId, stored));
  return { salt: stored.salt, hash: hash.toString('base64') };
}

export async function isPin(
  key: PurposeKey,
  userId: string,
  pin: string,
  stored: PinHash,
): Promise<boolean> {
  const hash = await argonOf(key, userId, pin, Buffer.from(stored.salt, 'base64'));
  const expected = bareHash(key, userId, stored);
  return hash.length === expected.length && timingSafeEqual(hash, expected);
}

function argonOf(key: PurposeKey, userId: string, pin: string, nonce: Buffer): Promise<Buffer> {
  const message = keyedHash(firstOf(key), 'pin', userId, pin);
  return runArgon2('argon2id', { ...COST, message, nonce });
}

function sealPin(key: PurposeKey, userId: string, hash: Buffer): Buffer {
  return key.first ? seal(key, hash, contextOf(userId)) : hash;
}

function bareHash(key: PurposeKey, userId: string, { hash }: PinHash): Buffer {
  const bytes = Buffer.from(hash, 'base64');
  return bytes.length === HASH_BYTES ? bytes : open(key, bytes, contextOf(userId));
}

function contextOf(userId: string): string {
  return `pin|${userId}`;
}
