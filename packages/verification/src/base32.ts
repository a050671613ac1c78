const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const MAX_CHARACTERS = 128;

export class Base32Error extends Error {
  override readonly name = 'Base32Error';
}

/** RFC 4648 §6, upper case, without padding. */
export function encodeBase32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let pending = 0;
  for (const byte of bytes) {
    pending = ((pending << 8) | byte) & 0xfff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET[(pending >> bits) & 31];
    }
  }
  return bits > 0 ? text + ALPHABET[(pending << (5 - bits)) & 31] : text;
}

/**
 * Decodes base32 as people type it: any case, spaces, padding or none. Spare bits at the end are
 * dropped, as authenticator apps do. The message never repeats the text, which is a secret.
 * @throws Base32Error beyond 128 characters, or if it is not base32
 */
export function decodeBase32(text: string): Buffer {
  // Bounded before the replacements look at it; spaces may at most double a secret's length.
  if (text.length > 2 * MAX_CHARACTERS) throw new Base32Error('base32 text is too long');
  const letters = text.replace(/\s/g, '').replace(/={1,6}$/, '');
  if (letters.length > MAX_CHARACTERS) throw new Base32Error('base32 text is too long');
  // Checked before upper-casing, which would turn some letters outside ASCII into base32.
  if (!/^[A-Za-z2-7]*$/.test(letters)) throw new Base32Error('not base32: only A-Z and 2-7 are');
  const digits = letters.toUpperCase();
  // 1, 3 or 6 characters over a multiple of 8 are no whole number of bytes.
  if ([1, 3, 6].includes(digits.length % 8)) throw new Base32Error('base32 text is cut short');

  const bytes = Buffer.alloc(Math.floor((digits.length * 5) / 8));
  let bits = 0;
  let pending = 0;
  let at = 0;
  for (const digit of digits) {
    pending = ((pending << 5) | ALPHABET.indexOf(digit)) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[at] = (pending >> bits) & 0xff;
      at += 1;
    }
  }
  return bytes;
}
