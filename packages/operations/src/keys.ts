import { createHash } from 'node:crypto';
import type { Sealer } from '@countersign/cluster';
import { open, seal, type PurposeKey } from '@countersign/keys';

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

/** API keys are 256 random bits, so a plain hash is enough to store and to look them up by. */
export function hashApiKey(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
