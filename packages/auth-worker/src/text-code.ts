import { keyedHash, type GenerationKey } from '@countersign/keys';

/**
 * The code of a text. It follows from the attempt that asked for it and when, so the same attempt told again, on any
 * node, asks for the same code, but an idempotency key that is used for ever brings another code each time. 64 bits of HMAC leave no digit likelier than another by more than 1 in 10^10.
 */
export function textCodeOf(
  key: GenerationKey,
  { attemptId, askedAt }: { attemptId: string; askedAt: number },
  digits: number,
): string {
  const number = keyedHash(key, 'text', attemptId, String(askedAt)).readBigUInt64BE();
  return String(number % 10n ** BigInt(digits)).padStart(digits, '0');
}
