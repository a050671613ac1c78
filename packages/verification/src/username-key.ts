import { isSafeText } from './safe-text.ts';

const USERNAME_MAX_BYTES = 256;

/**
 * The key a user is found by: NFKC, lower case, trimmed, so that " ALICE" is alice. Work grows
 * with the name: bound it first, as {@link checkUsername} does.
 */
export function usernameKey(name: string): string {
  return name.normalize('NFKC').toLowerCase().normalize('NFKC').trim();
}

/** What is wrong with a username, or null. The key is bounded too: NFKC can lengthen a name. */
export function checkUsername(name: string): string | null {
  if (name.length === 0) return 'a username cannot be empty';
  if (utf8Bytes(name) > USERNAME_MAX_BYTES) return 'a username has at most 256 bytes';
  if (!isSafeText(name)) return 'a username has no control or invisible characters';
  if (name.trim() !== name) return 'a username does not begin or end with a space';
  const key = usernameKey(name);
  if (key.length === 0 || utf8Bytes(key) > USERNAME_MAX_BYTES || !isSafeText(key)) {
    return 'a username has 1 to 256 bytes in its normal form';
  }
  return null;
}

function utf8Bytes(text: string): number {
  // At most 3 bytes for a UTF-16 unit; the guard keeps a huge text from being encoded.
  return text.length > USERNAME_MAX_BYTES ? text.length : Buffer.byteLength(text, 'utf8');
}
