import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { firstOf, keyedHash, type PurposeKey } from '@countersign/keys';
import type { AdministratorDocument } from '@countersign/verification';

type PasswordHash = NonNullable<AdministratorDocument['credentials']>['password'];

const SALT_BYTES = 16;
// OWASP Password Storage Cheat Sheet: argon2id with at least 19 MiB, two passes, one lane.
const COST = { memory: 19_456, passes: 2, parallelism: 1, tagLength: 32 };
/** What nobody's password is compared with, so that a name that nobody has takes as long. */
const NOBODY: PasswordHash = {
  salt: Buffer.alloc(SALT_BYTES).toString('base64'),
  hash: Buffer.alloc(COST.tagLength).toString('base64'),
};

const runArgon2 = promisify(argon2);

/** Argon2id (RFC 9106) of the password's HMAC under the cluster's first key; some 30 ms off the event loop. */
export async function hashPassword(
  key: PurposeKey,
  administratorId: string,
  password: string,
): Promise<PasswordHash> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await argonOf(key, administratorId, password, salt);
  return { salt: salt.toString('base64'), hash: hash.toString('base64') };
}

/** `stored` null: of nobody, or of somebody without a password; it takes as long and is wrong. */
export async function isPassword(
  key: PurposeKey,
  administratorId: string,
  password: string,
  stored: PasswordHash | null,
): Promise<boolean> {
  const { salt, hash: expected } = stored ?? NOBODY;
  const hash = await argonOf(key, administratorId, password, Buffer.from(salt, 'base64'));
  return timingSafeEqual(hash, Buffer.from(expected, 'base64')) && stored !== null;
}

function argonOf(key: PurposeKey, id: string, password: string, nonce: Buffer): Promise<Buffer> {
  // One spelling of what is typed on different keyboards.
  const message = keyedHash(firstOf(key), 'administrator password', id, password.normalize('NFKC'));
  return runArgon2('argon2id', { ...COST, message, nonce });
}
