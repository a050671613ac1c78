import { createUser, fromPublic, fromSeed } from '@nats-io/nkeys';
import { IdentityError } from './identity-error.ts';

const USER_PUBLIC_KEY = /^U[A-Z2-7]{55}$/;

/** The seed of a new nkey user: who it is towards the log servers. */
export function createUserSeed(): string {
  return Buffer.from(createUser().getSeed()).toString('ascii');
}

/** @throws IdentityError `malformed` */
export function publicKeyOfSeed(seed: string): string {
  try {
    const publicKey = fromSeed(Buffer.from(seed, 'ascii')).getPublicKey();
    if (isUserPublicKey(publicKey)) return publicKey;
  } catch {
    // Said below, without what was given.
  }
  throw new IdentityError('malformed', 'not the seed of an nkey user');
}

/** Whether this is the public key of an nkey user, checksum included. */
export function isUserPublicKey(text: string): boolean {
  if (!USER_PUBLIC_KEY.test(text)) return false;
  try {
    return fromPublic(text).getPublicKey() === text;
  } catch {
    return false;
  }
}

/** Signs as the nkey user of that seed (Ed25519), base64. @throws IdentityError `malformed` */
export function signAsUser(seed: string, text: string): string {
  publicKeyOfSeed(seed);
  const signature = fromSeed(Buffer.from(seed, 'ascii')).sign(Buffer.from(text, 'utf8'));
  return Buffer.from(signature).toString('base64');
}

/** Whether the nkey user of that public key has signed the text. */
export function isSignedByUser(publicKey: string, text: string, signature: string): boolean {
  if (!isUserPublicKey(publicKey)) return false;
  try {
    const bytes = Buffer.from(signature, 'base64');
    return fromPublic(publicKey).verify(Buffer.from(text, 'utf8'), bytes);
  } catch {
    return false;
  }
}
