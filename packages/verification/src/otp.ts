import { createHmac, createSecretKey, randomBytes, timingSafeEqual } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

export const OTP_ALGORITHMS = ['SHA1', 'SHA256', 'SHA512'] as const;
export type OtpAlgorithm = (typeof OTP_ALGORITHMS)[number];
export type OtpDigits = 6 | 7 | 8;
export type OtpParameters = { algorithm: OtpAlgorithm; digits: OtpDigits };

const SECRET_MIN_BYTES = 16;
const SECRET_MAX_BYTES = 80;

/**
 * HOTP, RFC 4226 §5.3; with SHA256 or SHA512 as RFC 6238 §1.2 allows. `counter` ≥ 0. Node takes
 * five times as long for the HMAC of bare bytes, so who asks often passes {@link otpKey}'s result.
 */
export function hotp(
  secret: Uint8Array | KeyObject,
  counter: number,
  parameters: OtpParameters,
): string {
  const message = Buffer.alloc(8);
  message.writeBigUInt64BE(BigInt(counter));
  const mac = createHmac(parameters.algorithm, secret).update(message).digest();
  // Dynamic truncation: the last nibble says where the 31 bits begin.
  const offset = mac.readUInt8(mac.length - 1) & 0xf;
  const number = mac.readUInt32BE(offset) & 0x7fffffff;
  return String(number % 10 ** parameters.digits).padStart(parameters.digits, '0');
}

/** A secret prepared for many {@link hotp} calls. */
export function otpKey(secret: Uint8Array): KeyObject {
  return createSecretKey(secret);
}

/** The TOTP step of a moment (RFC 6238 §4.2, T0 = 0): the counter to give {@link hotp}. */
export function totpStep(nowMs: number, periodSeconds: number): number {
  return Math.floor(nowMs / 1000 / periodSeconds);
}

/** Compares in a time that does not depend on where the codes differ. */
export function codesEqual(expected: string, given: string): boolean {
  // Lengths are no secret; a huge text is not worth copying.
  if (expected.length !== given.length) return false;
  const left = Buffer.from(expected, 'utf8');
  const right = Buffer.from(given, 'utf8');
  return left.length === right.length && timingSafeEqual(left, right);
}

/** What is wrong with a shared secret (RFC 4226 §4 R6: 128 bits or more), or null. */
export function checkSecret(secret: Uint8Array): string | null {
  if (secret.length < SECRET_MIN_BYTES) return 'a secret has at least 128 bits';
  if (secret.length > SECRET_MAX_BYTES) return 'a secret has at most 128 base32 characters';
  return null;
}

/** 160 random bits, the length RFC 4226 §4 recommends. */
export function generateSecret(): Buffer {
  return randomBytes(20);
}
