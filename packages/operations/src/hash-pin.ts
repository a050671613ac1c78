import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { keyedHash, type PurposeKey } from '@countersign/keys';
import type { PinHash } from '@countersign/verification';

const SALT_BYTES = 16;
const HASH_BYTES = 32;
// A few milliseconds: four digits are kept by the cluster's key, not by the hash.
const COST = { memory: 4096, passes: 1, parallelism: 1, tagLength: HASH_BYTES };

const runArgon2 = promisify(argon2);

/** Argon2id (RFC 9106) of the PIN's HMAC under the cluster's key; computed off the event loop. */
export async function hashPin(key: PurposeKey, userId: string, pin: string): Promise<PinHash> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await argonOf(key, userId, pin, salt);
  return { salt: salt.toString('base64'), hash: hash.toString('base64') };
}

export async function isPin(
  key: PurposeKey,
  userId: string,
  pin: string,
  stored: PinHash,
): Promise<boolean> {
  const hash = await argonOf(key, userId, pin, Buffer.from(stored.salt, 'base64'));
  const expected = Buffer.from(stored.hash, 'base64');
  return hash.length === expected.length && timingSafeEqual(hash, expected);
}

function argonOf(key: PurposeKey, userId: string, pin: string, nonce: Buffer): Promise<Buffer> {
  const message = keyedHash(key, 'pin', userId, pin);
  return runArgon2('argon2id', { ...COST, message, nonce });
}
