import { encodeBase32 } from './base32.ts';
import type { OtpAlgorithm, OtpDigits } from './otp.ts';

export type OtpauthOptions = {
  issuer: string;
  account: string;
  secret: Uint8Array;
  algorithm: OtpAlgorithm;
  digits: OtpDigits;
} & ({ type: 'totp'; periodSeconds: number } | { type: 'hotp'; initialCounter: number });

/** The URI an authenticator app scans (the "Key URI Format"). It contains the secret. */
export function otpauthUri(options: OtpauthOptions): string {
  // A colon parts issuer and account in the label, so neither may hold one there.
  const label = [options.issuer, options.account]
    .map((part) => escape(part.replaceAll(':', ' ')))
    .join(':');
  const parameters = [
    `secret=${encodeBase32(options.secret)}`,
    `issuer=${escape(options.issuer)}`,
    `algorithm=${options.algorithm}`,
    `digits=${options.digits}`,
    options.type === 'totp'
      ? `period=${options.periodSeconds}`
      : `counter=${options.initialCounter}`,
  ];
  return `otpauth://${options.type}/${label}?${parameters.join('&')}`;
}

function escape(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}
