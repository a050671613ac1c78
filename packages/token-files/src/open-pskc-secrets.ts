import { createDecipheriv, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { TokenFileError } from './imported-token.ts';
import { attribute, element, textOf } from './parse-xml.ts';
import type { XmlElement } from './parse-xml.ts';

export type PskcOptions = {
  /** The key agreed on with the vendor: 16, 24 or 32 bytes. */
  preSharedKey?: Uint8Array;
  password?: string;
};

/** Opens the value of a `Secret` element. */
export type OpenSecret = (secret: XmlElement) => Buffer;

const CIPHERS: Record<string, { name: string; keyBytes: number }> = {
  'http://www.w3.org/2001/04/xmlenc#aes128-cbc': { name: 'aes-128-cbc', keyBytes: 16 },
  'http://www.w3.org/2001/04/xmlenc#aes192-cbc': { name: 'aes-192-cbc', keyBytes: 24 },
  'http://www.w3.org/2001/04/xmlenc#aes256-cbc': { name: 'aes-256-cbc', keyBytes: 32 },
};
const MACS: Record<string, string> = {
  'http://www.w3.org/2000/09/xmldsig#hmac-sha1': 'sha1',
  'http://www.w3.org/2001/04/xmldsig-more#hmac-sha256': 'sha256',
  'http://www.w3.org/2001/04/xmldsig-more#hmac-sha512': 'sha512',
};
const PBKDF2 = 'http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#pbkdf2';

const BLOCK_BYTES = 16;
const ITERATIONS_MAX = 1_000_000;
const SALT_MIN_BYTES = 8;
const PASSWORD_MAX_CHARS = 1024;

// One text for all of it: whether key, password or file is at fault shows in nothing.
const CANNOT_OPEN = 'the key or password is wrong, or the file was changed';

/**
 * How the secrets of a container (RFC 6030, 6) are opened: plain, or AES-CBC under a pre-shared or a
 * password's key with an HMAC over IV and ciphertext, which is checked before anything is
 * decrypted. Every encrypted secret must have its MAC, and in an encrypted container every secret
 * must be encrypted, or a plain one could be slipped in. Deriving a password's key may take a
 * second, off the event loop.
 * @throws TokenFileError for what is missing, wrong or not supported; so does what it returns
 */
export async function secretOpener(
  container: XmlElement,
  options: PskcOptions,
): Promise<OpenSecret> {
  const encryptionKey = element(container, 'EncryptionKey');
  const macMethod = element(container, 'MACMethod');
  if (!encryptionKey && !macMethod) return openPlain;
  if (!encryptionKey || !macMethod) {
    throw new TokenFileError('an encrypted file needs both an EncryptionKey and a MACMethod');
  }
  const macAlgorithm = lookUp(MACS, attribute(macMethod, 'Algorithm'), 'MAC');
  const encryptedMacKey = element(macMethod, 'MACKey');
  if (!encryptedMacKey) throw new TokenFileError('the MACMethod has no MACKey');
  const key = await encryptionKeyOf(encryptionKey, options);
  const macKey = decrypt(readEncrypted(encryptedMacKey), key);

  return (secret) => {
    const encryptedValue = element(secret, 'EncryptedValue');
    if (!encryptedValue || element(secret, 'PlainValue')) {
      throw new TokenFileError('a secret of the encrypted file is not encrypted');
    }
    const mac = textOf(secret, 'ValueMAC');
    if (!mac) throw new TokenFileError('an encrypted secret has no MAC');
    const encrypted = readEncrypted(encryptedValue);
    const expected = createHmac(macAlgorithm, macKey).update(encrypted.bytes).digest();
    if (!isEqual(readBase64(mac), expected)) throw new TokenFileError(CANNOT_OPEN);
    return decrypt(encrypted, key);
  };
}

function openPlain(secret: XmlElement): Buffer {
  if (element(secret, 'EncryptedValue')) {
    throw new TokenFileError('a secret is encrypted, but the file says not how');
  }
  return readBase64(textOf(secret, 'PlainValue') ?? '');
}

async function encryptionKeyOf(
  encryptionKey: XmlElement,
  options: PskcOptions,
): Promise<Uint8Array> {
  const derivedKey = element(encryptionKey, 'DerivedKey');
  if (derivedKey) {
    if (options.password === undefined) {
      throw new TokenFileError('the file is encrypted: its password is needed');
    }
    return await deriveKey(derivedKey, options.password);
  }
  if (element(encryptionKey, 'X509Data') || element(encryptionKey, 'EncryptedKey')) {
    throw new TokenFileError('the file is encrypted for a certificate: that is not supported');
  }
  if (options.preSharedKey === undefined) {
    throw new TokenFileError('the file is encrypted: its pre-shared key is needed');
  }
  return options.preSharedKey;
}

/** PBKDF2, RFC 8018 5.2, as the parameters in the file say. */
async function deriveKey(derivedKey: XmlElement, password: string): Promise<Buffer> {
  const method = element(derivedKey, 'KeyDerivationMethod');
  if (attribute(method, 'Algorithm') !== PBKDF2) {
    throw new TokenFileError('its key derivation is not supported: only PBKDF2 is');
  }
  const parameters = element(method, 'PBKDF2-params');
  const salt = readBase64(textOf(element(parameters, 'Salt'), 'Specified') ?? '');
  if (salt.length < SALT_MIN_BYTES) throw new TokenFileError('the salt is missing or too short');
  const iterations = readCount(textOf(parameters, 'IterationCount'));
  if (iterations < 1 || iterations > ITERATIONS_MAX) {
    throw new TokenFileError('the iteration count is not from 1 to 1,000,000');
  }
  const keyBytes = readCount(textOf(parameters, 'KeyLength'));
  if (![16, 24, 32].includes(keyBytes)) {
    throw new TokenFileError('the length of the derived key is not 16, 24 or 32');
  }
  if (password.length > PASSWORD_MAX_CHARS) throw new TokenFileError('the password is too long');
  return await promisify(pbkdf2)(password, salt, iterations, keyBytes, digestOf(parameters));
}

function digestOf(parameters: XmlElement | undefined): string {
  const prf = attribute(element(parameters, 'PRF'), 'Algorithm') ?? textOf(parameters, 'PRF');
  // RFC 8018 A.2: HMAC-SHA-1 unless said otherwise.
  const bits = prf === undefined ? '1' : /hmac-?sha-?(1|256|512)$/i.exec(prf)?.[1];
  if (!bits) throw new TokenFileError('the PRF of its key derivation is not supported');
  return `sha${bits}`;
}

/** 0 for what is no number. */
function readCount(text = ''): number {
  return /^\d{1,9}$/.test(text) ? Number(text) : 0;
}

type Encrypted = { cipher: { name: string; keyBytes: number }; bytes: Buffer };

function readEncrypted(value: XmlElement): Encrypted {
  const method = attribute(element(value, 'EncryptionMethod'), 'Algorithm');
  const cipher = lookUp(CIPHERS, method, 'encryption');
  const bytes = readBase64(textOf(element(value, 'CipherData'), 'CipherValue') ?? '');
  if (bytes.length < 2 * BLOCK_BYTES || bytes.length % BLOCK_BYTES !== 0) {
    throw new TokenFileError('an encrypted value is cut short');
  }
  return { cipher, bytes };
}

/** The IV stands in front (XML Encryption 5.2); only the last byte of the padding has a meaning. */
function decrypt({ cipher, bytes }: Encrypted, key: Uint8Array): Buffer {
  if (key.length !== cipher.keyBytes) {
    throw new TokenFileError(`the file needs a key of ${cipher.keyBytes} bytes`);
  }
  const decipher = createDecipheriv(cipher.name, key, bytes.subarray(0, BLOCK_BYTES));
  decipher.setAutoPadding(false);
  const padded = Buffer.concat([decipher.update(bytes.subarray(BLOCK_BYTES)), decipher.final()]);
  const padding = padded.at(-1)!;
  if (padding < 1 || padding > BLOCK_BYTES) throw new TokenFileError(CANNOT_OPEN);
  return padded.subarray(0, -padding);
}

function lookUp<T>(table: Record<string, T>, uri: string | undefined, what: string): T {
  const found = uri !== undefined && Object.hasOwn(table, uri) ? table[uri] : undefined;
  if (!found) throw new TokenFileError(`its ${what} algorithm is not supported`);
  return found;
}

function readBase64(text: string): Buffer {
  const packed = text.replace(/\s/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(packed)) throw new TokenFileError('a value is not base64');
  return Buffer.from(packed, 'base64');
}

function isEqual(given: Buffer, expected: Buffer): boolean {
  return given.length === expected.length && timingSafeEqual(given, expected);
}
