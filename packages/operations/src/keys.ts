import { createHash } from 'node:crypto';
import type { Sealer } from '@countersign/cluster';
import {
  generationsOf,
  keyedHash,
  open,
  seal,
  type GenerationKey,
  type PurposeKey,
} from '@countersign/keys';

/** A purpose key as the pair of functions that the cluster package wants. */
export function sealerOf(key: PurposeKey): Sealer {
  return {
    seal: (plain, context) => seal(key, plain, context),
    open: (sealed, context) => open(key, sealed, context),
  };
}

/** What an authenticator's seed is sealed to: moved to another authenticator it does not open. */
export function seedContext(authenticatorId: string): string {
  return `seed|${authenticatorId}`;
}

/**
 * What tells whether two tokens have one secret, and is worth nothing else. Zero bytes at the end are left out: an HMAC
 * makes the same codes with and without them.
 */
export function seedFingerprint(seedKey: GenerationKey, secret: Uint8Array): string {
  let length = secret.length;
  while (length > 0 && secret[length - 1] === 0) length -= 1;
  const hash = keyedHash(seedKey, 'fingerprint', secret.subarray(0, length));
  return hash.toString('hex', 0, 16);
}

/** What a token with this secret may have been given: one for each generation of the key. */
export function seedFingerprints(seedKey: PurposeKey, secret: Uint8Array): string[] {
  return generationsOf(seedKey).map((key) => seedFingerprint(key, secret));
}

/** API keys are 256 random bits, so a plain hash is enough to store and to look them up by. */
export function hashApiKey(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
