import type { GenerationKey, PurposeKey } from './derive-keys.ts';
import type { KeyPurpose } from './key-purpose.ts';

type HandedKey = { keyId: string; key: string };

/** Derived keys as text, for the message in which a supervisor hands a process what it may use. */
export type HandedKeys<P extends KeyPurpose> = Record<
  P,
  HandedKey & { others?: HandedKey[]; first?: HandedKey }
>;

export function handKeys<P extends KeyPurpose>(keys: Record<P, PurposeKey>): HandedKeys<P> {
  return mapValues(keys, (key) => ({
    ...toText(key),
    ...(key.others && { others: key.others.map(toText) }),
    ...(key.first && { first: toText(key.first) }),
  }));
}

export function takeKeys<P extends KeyPurpose>(handed: HandedKeys<P>): Record<P, PurposeKey> {
  return mapValues(handed, (key) => ({
    ...fromText(key),
    ...(key.others && { others: key.others.map(fromText) }),
    ...(key.first && { first: fromText(key.first) }),
  }));
}

/** Brings what a process holds up to what it is handed now: in place, for everything that uses a key holds the same object. */
export function renewKeys<P extends KeyPurpose>(
  held: Record<P, PurposeKey>,
  handed: HandedKeys<P>,
): void {
  const taken = takeKeys(handed);
  for (const purpose of Object.keys(held) as P[]) {
    const { keyId, key, others = [], first } = taken[purpose] ?? held[purpose];
    Object.assign(held[purpose], { keyId, key, others, ...(first && { first }) });
  }
}

function toText({ keyId, key }: GenerationKey): HandedKey {
  return { keyId, key: key.toString('base64') };
}

function fromText({ keyId, key }: HandedKey): GenerationKey {
  return { keyId, key: Buffer.from(key, 'base64') };
}

function mapValues<P extends string, A, B>(
  record: Record<P, A>,
  map: (value: A) => B,
): Record<P, B> {
  const entries = Object.entries<A>(record).map(([name, value]) => [name, map(value)]);
  return Object.fromEntries(entries) as Record<P, B>;
}
