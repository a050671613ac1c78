import { createPrivateKey, createPublicKey, generateKeyPairSync, webcrypto } from 'node:crypto';
import { IdentityError } from './identity-error.ts';

export const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A new P-256 key as PKCS #8 PEM. */
export function createKeyPem(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
}

/** Both halves, as what makes certificates takes them. @throws IdentityError `malformed` */
export async function importKeyPem(keyPem: string): Promise<webcrypto.CryptoKeyPair> {
  try {
    const key = createPrivateKey(keyPem);
    const secret = key.export({ type: 'pkcs8', format: 'der' });
    const open = createPublicKey(key).export({ type: 'spki', format: 'der' });
    const { subtle } = webcrypto;
    return {
      privateKey: await subtle.importKey('pkcs8', secret, SIGNING, false, ['sign']),
      publicKey: await subtle.importKey('spki', open, SIGNING, true, ['verify']),
    };
  } catch (cause) {
    throw new IdentityError('malformed', 'not a P-256 key', { cause });
  }
}
