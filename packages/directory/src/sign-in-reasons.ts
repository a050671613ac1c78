import type { SignIn } from './types.ts';

export type RefusedReason = Extract<SignIn, { kind: 'refused' }>['reason'];

/** Active Directory's own word on a refused bind: "…, data 52e, v4563". */
export function readDataCode(text: string): string | undefined {
  return /\bdata ([0-9a-f]{1,8})\b/i.exec(text)?.[1]?.toLowerCase();
}

// System error codes of Windows in hex (MS-ERREF 2.2).
const ACTIVE_DIRECTORY: Record<string, RefusedReason> = {
  '52e': 'wrong_password',
  '525': 'unknown_name',
  '52f': 'not_now',
  '530': 'not_now',
  '531': 'not_now',
  '532': 'password_expired',
  '533': 'account_disabled',
  '534': 'not_now',
  '701': 'account_expired',
  '773': 'must_change_password',
  '775': 'account_locked',
};

// draft-behera-ldap-password-policy-10, 6.2; the others are about new passwords.
const PASSWORD_POLICY: Record<number, RefusedReason> = {
  0: 'password_expired',
  1: 'account_locked',
  2: 'must_change_password',
};

// RFC 4511 appendix A: what says something of the person, not of the server.
const RESULTS: Record<number, RefusedReason> = {
  // Directory Server 389: too many wrong passwords.
  19: 'account_locked',
  32: 'unknown_name',
  34: 'unknown_name',
  // No password at all.
  48: 'wrong_password',
  49: 'wrong_password',
  50: 'not_now',
  53: 'not_now',
};

/**
 * What the answer to the bind of a person means; null: accepted. Undefined: it is an answer of the
 * server, not on the person (a referral, busy, unknown codes): nobody is let in by it.
 */
export function readBindAnswer(
  { code, text }: { code: number; text: string },
  policyError: number | undefined,
): RefusedReason | null | undefined {
  const byPolicy = policyError === undefined ? undefined : PASSWORD_POLICY[policyError];
  // A policy may accept the bind only so that the password can be changed.
  if (code === 0) return byPolicy ?? null;
  if (code !== 49) return RESULTS[code];
  return byPolicy ?? ACTIVE_DIRECTORY[readDataCode(text) ?? ''] ?? 'wrong_password';
}
