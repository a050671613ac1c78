import { createHmac, createSecretKey } from 'node:crypto';
import type { GenerationKey } from './derive-keys.ts';

/**
 * HMAC-SHA256 (32 bytes) over the parts, each led by its length, so that ('ab', 'c') and
 * ('a', 'bc') differ. A string counts as its UTF-8 bytes.
 */
export function keyedHash(purposeKey: GenerationKey, ...parts: (string | Uint8Array)[]): Buffer {
  // Node is several times faster with a key object than with bare bytes.
  const hmac = createHmac('sha256', createSecretKey(purposeKey.key));
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part, 'utf8') : part;
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    hmac.update(length).update(bytes);
  }
  return hmac.digest();
}

/** A password (43 base64url characters, 256 bits) every holder of this key arrives at. */
export function passwordFor(purposeKey: GenerationKey): string {
  return keyedHash(purposeKey, 'password').toString('base64url');
}
