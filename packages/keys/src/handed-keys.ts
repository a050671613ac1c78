import type { KeyPurpose, PurposeKey } from './derive-keys.ts';

/** Derived keys as text, for the one message in which a supervisor hands a process what it may use. */
export type HandedKeys<P extends KeyPurpose> = Record<P, { keyId: string; key: string }>;

export function handKeys<P extends KeyPurpose>(keys: Record<P, PurposeKey>): HandedKeys<P> {
  return mapValues(keys, ({ keyId, key }) => ({ keyId, key: key.toString('base64') }));
}

export function takeKeys<P extends KeyPurpose>(handed: HandedKeys<P>): Record<P, PurposeKey> {
  return mapValues(handed, ({ keyId, key }) => ({ keyId, key: Buffer.from(key, 'base64') }));
}

function mapValues<P extends string, A, B>(
  record: Record<P, A>,
  map: (value: A) => B,
): Record<P, B> {
  const entries = Object.entries<A>(record).map(([name, value]) => [name, map(value)]);
  return Object.fromEntries(entries) as Record<P, B>;
}
