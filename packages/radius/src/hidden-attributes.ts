import { hash, randomInt } from 'node:crypto';

import { type Attribute, largestValueBytes, RadiusError } from './radius-packet.ts';
import {
  makeVendorValue,
  microsoft,
  readVendorValue,
  splitVendorValue,
} from './vendor-attributes.ts';

/** What hides an attribute: the secret both sides share and the *request's* authenticator. */
export interface Exchange {
  readonly secret: Buffer;
  readonly authenticator: Buffer;
}

/** RFC 2865 §5.2. */
export const longestPasswordBytes = 128;

/** Hides a password (bytes, up to 128) for User-Password. Throws RadiusError for a longer one. */
export function hideUserPassword(password: Buffer, exchange: Exchange): Buffer {
  if (password.length > longestPasswordBytes) {
    throw new RadiusError(`a password of ${password.length} bytes, at most 128 fit`);
  }
  return encrypt(pad(password), exchange.authenticator, exchange.secret);
}

/**
 * The password in a User-Password, or null when its form is wrong. A wrong secret gives other
 * bytes, never an error. Zero bytes at the end are padding and cannot be told from the password's.
 */
export function revealUserPassword(hidden: Buffer, exchange: Exchange): Buffer | null {
  if (!isHiddenForm(hidden)) return null;
  const padded = decrypt(hidden, exchange.authenticator, exchange.secret);
  let length = padded.length;
  while (length > 0 && padded[length - 1] === 0) length -= 1;
  return padded.subarray(0, length);
}

/**
 * Hides a key with a salt (RFC 2868 §3.5, RFC 2548 §2.4.2). `salt`: two bytes, the first at least
 * 0x80, never twice in one packet. Throws RadiusError when it would not fit into an attribute.
 */
export function hideSalted(plain: Buffer, salt: Buffer, exchange: Exchange): Buffer {
  const padded = pad(Buffer.concat([Buffer.from([plain.length]), plain]));
  if (padded.length + 2 > largestValueBytes) {
    throw new RadiusError(`a key of ${plain.length} bytes does not fit into an attribute`);
  }
  const first = Buffer.concat([exchange.authenticator, salt]);
  return Buffer.concat([salt, encrypt(padded, first, exchange.secret)]);
}

/** What hideSalted hid, or null when its form is wrong or the secret is another's. */
export function revealSalted(hidden: Buffer, exchange: Exchange): Buffer | null {
  const salt = hidden.subarray(0, 2);
  const body = hidden.subarray(2);
  if (body.length === 0 || body.length % 16 !== 0 || (salt[0] ?? 0) < 0x80) return null;
  const first = Buffer.concat([exchange.authenticator, salt]);
  const padded = decrypt(body, first, exchange.secret);
  const length = padded[0] ?? 0;
  return length < padded.length ? padded.subarray(1, length + 1) : null;
}

/** Salts for one packet: different ones, each with its first bit set. */
export function makeSalts(): () => Buffer {
  let next = randomInt(0x8000);
  return () => {
    const salt = Buffer.alloc(2);
    salt.writeUInt16BE(0x8000 | next, 0);
    next = (next + 1) & 0x7fff;
    return salt;
  };
}

/**
 * The attributes with all that is hidden in them (User-Password, Tunnel-Password, MS-CHAP-MPPE-Keys,
 * MS-MPPE-Send-Key and -Recv-Key) opened with one exchange and hidden for another; null when one
 * of them cannot be opened. A vendor attribute that holds several stays one.
 */
export function reencryptAttributes(
  attributes: readonly Attribute[],
  { from, to }: { from: Exchange; to: Exchange },
): Attribute[] | null {
  const nextSalt = makeSalts();
  const salted = (value: Buffer) => {
    const plain = revealSalted(value, from);
    return plain && hideSalted(plain, nextSalt(), to);
  };
  const block = (value: Buffer) => {
    if (!isHiddenForm(value)) return null;
    const plain = decrypt(value, from.authenticator, from.secret);
    return encrypt(plain, to.authenticator, to.secret);
  };
  const done: Attribute[] = [];
  for (const { type, value } of attributes) {
    const again = reencryptOne({ type, value }, { salted, block });
    if (!again) return null;
    done.push({ type, value: again });
  }
  return done;
}

type Reencrypt = (value: Buffer) => Buffer | null;

function reencryptOne(
  { type, value }: Attribute,
  { salted, block }: { salted: Reencrypt; block: Reencrypt },
): Buffer | null {
  if (type === attributes.userPassword) return block(value);
  if (type === attributes.tunnelPassword) {
    const again = salted(value.subarray(1));
    return again && Buffer.concat([value.subarray(0, 1), again]);
  }
  if (type !== attributes.vendorSpecific) return value;
  const read = readVendorValue(value);
  if (read?.vendor !== microsoft) return value;
  const parts = splitVendorValue(read.data);
  if (!parts) return null;
  const again: { type: number; value: Buffer }[] = [];
  for (const part of parts) {
    const [isSalted, isBlock] = [saltedKeys.has(part.type), part.type === mppeKeys];
    const hidden = isSalted ? salted(part.value) : isBlock ? block(part.value) : part.value;
    if (!hidden) return null;
    again.push({ type: part.type, value: hidden });
  }
  return makeVendorValue(microsoft, again);
}

const attributes = { userPassword: 2, vendorSpecific: 26, tunnelPassword: 69 };
// MS-CHAP-MPPE-Keys is hidden like a User-Password (RFC 2548 §2.4.1), the two others with a salt.
const mppeKeys = 12;
const saltedKeys: ReadonlySet<number> = new Set([16, 17]);

function isHiddenForm(hidden: Buffer): boolean {
  const { length } = hidden;
  return length >= 16 && length <= longestPasswordBytes && length % 16 === 0;
}

function pad(plain: Buffer): Buffer {
  const padded = Buffer.alloc(Math.max(Math.ceil(plain.length / 16), 1) * 16);
  plain.copy(padded);
  return padded;
}

// c(1) = p(1) xor MD5(secret + first), c(i) = p(i) xor MD5(secret + c(i-1))
function encrypt(padded: Buffer, first: Buffer, secret: Buffer): Buffer {
  const hidden = Buffer.alloc(padded.length);
  let before = first;
  for (let at = 0; at < padded.length; at += 16) {
    xorBlock(hidden, { source: padded, at, before, secret });
    before = hidden.subarray(at, at + 16);
  }
  return hidden;
}

function decrypt(hidden: Buffer, first: Buffer, secret: Buffer): Buffer {
  const plain = Buffer.alloc(hidden.length);
  let before = first;
  for (let at = 0; at < hidden.length; at += 16) {
    xorBlock(plain, { source: hidden, at, before, secret });
    before = hidden.subarray(at, at + 16);
  }
  return plain;
}

function xorBlock(
  target: Buffer,
  { source, at, before, secret }: { source: Buffer; at: number; before: Buffer; secret: Buffer },
): void {
  const key = hash('md5', Buffer.concat([secret, before]), 'buffer');
  for (let i = at; i < at + 16; i += 1) target[i] = (source[i] ?? 0) ^ (key[i - at] ?? 0);
}
