import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto';
import type { GenerationKey, PurposeKey } from './derive-keys.ts';
import { KeyError } from './key-error.ts';

// version (1) | key id (4) | nonce (12) | ciphertext | tag (16)
const VERSION = 1;
const HEADER_BYTES = 5;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SMALLEST_BYTES = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

/**
 * AES-256-GCM with a random nonce (NIST SP 800-38D: at most 2^32 seals per key). The result opens
 * only under the same key and the same `context`, e.g. `seed/<authenticator id>`.
 */
export function seal(purposeKey: PurposeKey, plaintext: Uint8Array, context: string): Buffer {
  const header = Buffer.concat([Buffer.of(VERSION), Buffer.from(purposeKey.keyId, 'hex')]);
  const nonce = randomBytes(NONCE_BYTES);
  // Here and below: Node is several times faster with a key object than with bare bytes.
  const cipher = createCipheriv('aes-256-gcm', createSecretKey(purposeKey.key), nonce, {
    authTagLength: TAG_BYTES,
  });
  cipher.setAAD(bindTo(header, context));
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([header, nonce, ciphertext, cipher.getAuthTag()]);
}

/**
 * Opens what {@link seal} made, under whichever generation of the key that is known here.
 * @throws KeyError `wrong_key`: sealed under a key that is not among those given; `damaged`:
 *   altered, truncated, of an unknown version, or sealed for another context
 */
export function open(
  purposeKeys: PurposeKey | readonly PurposeKey[],
  sealed: Uint8Array,
  context: string,
): Buffer {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  if (bytes.length < SMALLEST_BYTES) throw damaged('is too short');
  if (bytes[0] !== VERSION) throw damaged(`has the unknown version ${bytes[0]}`);

  const header = bytes.subarray(0, HEADER_BYTES);
  const keyId = header.toString('hex', 1);
  const purposeKey = [purposeKeys]
    .flat()
    .flatMap(generationsOf)
    .find((candidate) => candidate.keyId === keyId);
  if (!purposeKey) {
    throw new KeyError('wrong_key', `sealed under the key ${keyId}, which is not known here`);
  }

  const nonce = bytes.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
  const ciphertext = bytes.subarray(HEADER_BYTES + NONCE_BYTES, -TAG_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', createSecretKey(purposeKey.key), nonce, {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(bindTo(header, context));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
  } catch (cause) {
    throw damaged('was altered or belongs to another context', cause);
  }
}

/** Every generation that is known of a key, the one that seals first. */
export function generationsOf(purposeKey: PurposeKey): GenerationKey[] {
  return [purposeKey, ...(purposeKey.others ?? [])];
}

/** The key of the first generation, for hashes that nobody can make anew. */
export function firstOf({ first, ...active }: PurposeKey): GenerationKey {
  return first ?? active;
}

/** The id of the generation that something was sealed under; null for what is not sealed. */
export function sealedUnder(sealed: Uint8Array): string | null {
  if (sealed.length < SMALLEST_BYTES || sealed[0] !== VERSION) return null;
  return Buffer.from(sealed.subarray(1, HEADER_BYTES)).toString('hex');
}

function bindTo(header: Buffer, context: string): Buffer {
  return Buffer.concat([header, Buffer.from(context, 'utf8')]);
}

function damaged(how: string, cause?: unknown): KeyError {
  return new KeyError('damaged', `sealed value ${how}`, { cause });
}
