import { keyedHash, type PurposeKey } from '@countersign/keys';

/**
 * The code of a text. It follows from the attempt that asked for it, so the same attempt again, on any node, asks for
 * the same code. 64 bits of HMAC leave no digit likelier than another by more than 1 in 10^10.
 */
export function textCodeOf(key: PurposeKey, attemptId: string, digits: number): string {
  const number = keyedHash(key, 'text', attemptId).readBigUInt64BE();
  return String(number % 10n ** BigInt(digits)).padStart(digits, '0');
}
