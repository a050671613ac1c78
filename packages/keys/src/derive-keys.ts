import { hkdfSync } from 'node:crypto';
import type { ClusterKey } from './cluster-key.ts';

/**
 * What a derived key may be used for. A process is handed the purposes it needs and nothing it
 * could derive the others from.
 */
export type KeyPurpose =
  | 'document'
  | 'seed'
  | 'command'
  | 'event'
  | 'wrong-code'
  | 'attempt-id'
  | 'challenge'
  | 'pin'
  | 'spare-code'
  | 'parked'
  | 'new-secret'
  | 'nats-password'
  | 'socket-proof';

/** 32 bytes for one purpose; `keyId` is the id of the cluster key they come from. */
export type PurposeKey = { keyId: string; key: Buffer };

/** HKDF-SHA256 (RFC 5869), one independent key per purpose. */
export function deriveKeys<P extends KeyPurpose>(
  clusterKey: ClusterKey,
  purposes: readonly P[],
): Record<P, PurposeKey> {
  const derived = purposes.map((purpose) => [
    purpose,
    {
      keyId: clusterKey.id,
      key: Buffer.from(
        hkdfSync('sha256', clusterKey.bytes, 'countersign', `purpose/${purpose}`, 32),
      ),
    },
  ]);
  return Object.fromEntries(derived) as Record<P, PurposeKey>;
}
