import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  randomBytes,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { IdentityError } from './identity-error.ts';

// version (1) | ephemeral P-256 public key, SPKI DER (91) | nonce (12) | ciphertext | tag (16)
const VERSION = 1;
const PUBLIC_BYTES = 91;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + PUBLIC_BYTES;
const SMALLEST_BYTES = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

/**
 * Encrypts for the holder of a certificate's key alone: ephemeral ECDH on P-256, HKDF-SHA256, AES-256-GCM. Opens only
 * with the same `context`.
 */
export function wrapFor(certificatePem: string, plaintext: Uint8Array, context: string): Buffer {
  const recipient = new X509Certificate(certificatePem).publicKey;
  const ephemeral = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const header = Buffer.concat([Buffer.of(VERSION), spki(ephemeral.publicKey)]);
  const key = agreeOn({
    shared: diffieHellman({ privateKey: ephemeral.privateKey, publicKey: recipient }),
    header,
    recipient,
  });
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(context, 'utf8'));
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([header, nonce, ciphertext, cipher.getAuthTag()]);
}

/** @throws IdentityError `refused`: altered, cut, for another key or another context */
export function unwrap(keyPem: string, wrapped: Uint8Array, context: string): Buffer {
  const bytes = Buffer.from(wrapped);
  try {
    if (bytes.length < SMALLEST_BYTES || bytes[0] !== VERSION) throw new Error('not wrapped');
    const header = bytes.subarray(0, HEADER_BYTES);
    const privateKey = createPrivateKey(keyPem);
    const sender = createPublicKey({ key: header.subarray(1), format: 'der', type: 'spki' });
    const key = agreeOn({
      shared: diffieHellman({ privateKey, publicKey: sender }),
      header,
      recipient: createPublicKey(privateKey),
    });
    const nonce = bytes.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.from(context, 'utf8'));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    const ciphertext = bytes.subarray(HEADER_BYTES + NONCE_BYTES, -TAG_BYTES);
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
  } catch (cause) {
    throw new IdentityError('refused', 'what was wrapped for this node does not open', { cause });
  }
}

function agreeOn(about: { shared: Buffer; header: Buffer; recipient: KeyObject }): Buffer {
  const info = Buffer.concat([
    Buffer.from('countersign wrap 1'),
    about.header,
    spki(about.recipient),
  ]);
  return Buffer.from(hkdfSync('sha256', about.shared, Buffer.alloc(0), info, 32));
}

function spki(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}
