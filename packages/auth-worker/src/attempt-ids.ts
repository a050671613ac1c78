import { randomUUID } from 'node:crypto';
import type { VerificationAttempt } from '@countersign/api';
import { generationsOf, keyedHash, type GenerationKey, type PurposeKey } from '@countersign/keys';
import { usernameKey } from '@countersign/verification';

/** By what an attempt is known. What few steps ask for is worked out when they do: each is an HMAC. */
export class AttemptIds {
  /** The same attempt repeated, on any node, has the same id. Over everything that is judged: other content, another id. */
  readonly attemptId: string;
  /** The generation of the key that they are made under. */
  readonly keyId: string;
  /**
   * Those of the keys that it may have been sent with before, and, while the cluster's key is changed, those of a node that
   * is further with it or less far.
   */
  readonly resent: readonly AttemptIds[];
  readonly #key: GenerationKey;
  readonly #others: readonly GenerationKey[];
  readonly #attempt: VerificationAttempt;
  #keyHash: string | undefined;
  #waitId: string | undefined;

  constructor(keys: PurposeKey, attempt: VerificationAttempt) {
    // As they are now: they may be renewed before all is worked out.
    const [key, ...others] = generationsOf(keys).map(({ keyId, key: bytes }) => {
      return { keyId, key: bytes };
    });
    this.#key = key!;
    this.#others = others;
    this.keyId = key!.keyId;
    this.#attempt = attempt;
    this.attemptId = attemptIdOf(key!, attempt);
    const { idempotencyKey, resentKeys = [] } = attempt;
    const own = idempotencyKey === null ? [] : [idempotencyKey];
    this.resent = [
      ...this.#under([key!], resentKeys),
      ...this.#under(others, [...own, ...resentKeys]),
    ];
  }

  /** Who repeats: the caller and its key, without what was asked; null without a key. */
  get keyHash(): string | null {
    const { caller, idempotencyKey } = this.#attempt;
    if (idempotencyKey === null) return null;
    this.#keyHash ??= keyedHash(this.#key, 'key', caller.id, idempotencyKey).toString('hex');
    return this.#keyHash;
  }

  /** Shown to the caller; follows from the attempt id of the step that began it. */
  get verificationId(): string {
    return this.#attempt.challenge?.id ?? this.waitId;
  }

  /**
   * Of a question that this attempt begins and somebody answers elsewhere: of this attempt alone, also where it takes
   * the place of another question, for one answer lets one in.
   */
  get waitId(): string {
    this.#waitId ??= asUuid(keyedHash(this.#key, 'verification', this.attemptId));
    return this.#waitId;
  }

  /** Those that it may have been sent with before, if that is still waited for. */
  lasting(): AttemptIds[] {
    return this.#under([this.#key, ...this.#others], this.#attempt.lastingKeys);
  }

  #under(keys: readonly GenerationKey[], names: readonly string[] = []): AttemptIds[] {
    return keys.flatMap((key) =>
      names.map((idempotencyKey) => {
        return new AttemptIds(key, { ...this.#attempt, idempotencyKey, resentKeys: [] });
      }),
    );
  }
}

function attemptIdOf(key: GenerationKey, attempt: VerificationAttempt): string {
  const { caller, idempotencyKey, challenge, station } = attempt;
  return keyedHash(
    key,
    'attempt',
    caller.id,
    idempotencyKey ?? randomUUID(),
    usernameKey(attempt.username ?? ''),
    attempt.code ?? '',
    attempt.pin ?? '',
    attempt.newPin ?? '',
    attempt.method ?? '',
    challenge?.id ?? '',
    attempt.application ?? '',
    attempt.clientIp ?? '',
    attempt.password ?? '',
    ...(station === undefined ? [] : [station]),
  ).toString('hex');
}

/** UUIDv8 of the first 16 bytes. */
function asUuid(hash: Buffer): string {
  hash[6] = (hash[6]! & 0x0f) | 0x80;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}
