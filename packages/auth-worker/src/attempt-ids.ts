import { randomUUID } from 'node:crypto';
import type { VerificationAttempt } from '@countersign/api';
import { keyedHash, type PurposeKey } from '@countersign/keys';
import { usernameKey } from '@countersign/verification';

export type AttemptIds = {
  /** The same attempt repeated, on any node, has the same id. */
  attemptId: string;
  /** Who repeats: the caller and its key, without what was asked; null without a key. */
  keyHash: string | null;
  /** Shown to the caller; follows from the attempt id of the step that began it. */
  verificationId: string;
  /**
   * Of a question that this attempt begins and somebody answers elsewhere: of this attempt alone, also where it takes
   * the place of another question, for one answer lets one in.
   */
  waitId: string;
  /** Those of the keys that it may have been sent with before. */
  resent: AttemptIds[];
};

/** Over everything that is judged: the same key with other content is another attempt. */
export function attemptIdsOf(key: PurposeKey, attempt: VerificationAttempt): AttemptIds {
  const { caller, idempotencyKey, resentKeys = [] } = attempt;
  const attemptId = keyedHash(
    key,
    'attempt',
    caller.id,
    idempotencyKey ?? randomUUID(),
    usernameKey(attempt.username ?? ''),
    attempt.code ?? '',
    attempt.pin ?? '',
    attempt.newPin ?? '',
    attempt.method ?? '',
    attempt.challenge?.id ?? '',
    attempt.application ?? '',
    attempt.clientIp ?? '',
    attempt.password ?? '',
    ...(attempt.station === undefined ? [] : [attempt.station]),
  ).toString('hex');
  const waitId = asUuid(keyedHash(key, 'verification', attemptId));
  return {
    attemptId,
    keyHash:
      idempotencyKey === null
        ? null
        : keyedHash(key, 'key', caller.id, idempotencyKey).toString('hex'),
    verificationId: attempt.challenge?.id ?? waitId,
    waitId,
    resent: resentKeys.map((other) => idsUnder(key, attempt, other)),
  };
}

/** Those that it may have been sent with before, if that is still waited for. */
export function lastingIdsOf(key: PurposeKey, attempt: VerificationAttempt): AttemptIds[] {
  return (attempt.lastingKeys ?? []).map((other) => idsUnder(key, attempt, other));
}

function idsUnder(key: PurposeKey, attempt: VerificationAttempt, other: string): AttemptIds {
  return attemptIdsOf(key, { ...attempt, idempotencyKey: other, resentKeys: [] });
}

/** UUIDv8 of the first 16 bytes. */
function asUuid(hash: Buffer): string {
  hash[6] = (hash[6]! & 0x0f) | 0x80;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}
