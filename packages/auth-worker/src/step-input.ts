import { keyedHash, open } from '@countersign/keys';
import { isPin, readSpareCode, seedContext, spareCodeHash } from '@countersign/operations';
import type { StepInput, UserDocument, UserState } from '@countersign/verification';
import type { LocalCounts, Step } from './step.ts';
import type { VerifierOptions } from './verifier-options.ts';

type Judging = Pick<VerifierOptions, 'keys' | 'asks' | 'elsewhere' | 'canSendTexts'>;

/** All that the rules see of a step. */
export function stepInputOf(
  options: Judging,
  step: Step,
  state: UserState,
  local?: LocalCounts,
): StepInput {
  const { attempt, ids, user, secrets, settings, knownNodes, challenge, proof } = step;
  const nowMs = Date.now();
  const { code } = attempt;
  const hmac = code === null ? null : keyedHash(options.keys['wrong-code'], user.id, code);
  return {
    user,
    secrets,
    state,
    settings,
    attempt: {
      id: ids.attemptId,
      keyHash: ids.keyHash,
      questionId: ids.waitId,
      code,
      door: attempt.door,
      method: attempt.method,
      client: `${attempt.caller.id} ${attempt.clientIp ?? attempt.remoteAddress}`,
      wrongCodeHmac: hmac && hmac.toString('hex'),
    },
    elsewhere: options.elsewhere?.of(user) ?? [],
    waiting: attempt.waiting ?? null,
    canSendTexts: options.canSendTexts?.(settings) ?? true,
    challenge: challenge && {
      id: challenge.id,
      method: challenge.row.method,
      mode: challenge.row.mode,
      expiresAtMs: challenge.expiresAt,
      isSentCode: code !== null && challenge.isSentCode(code),
    },
    password: proof && proof.judged,
    pin: step.pin,
    recoveryPlace: step.recoveryPlace,
    personAddress: attempt.clientIp,
    cacheKey: step.cacheKey,
    nowMs,
    codesNotBeforeMs: step.codesNotBeforeMs,
    medianNowMs: nowMs + options.asks.medianClockOffsetMs(),
    ...(local && { withoutQuorum: { knownNodes, ...local } }),
  };
}

/** Argon2 runs once for a step: after a lost compare-and-set only the state is judged again. */
export async function checkPin(
  { keys }: Pick<VerifierOptions, 'keys'>,
  pin: string | null,
  user: UserDocument,
): Promise<'right' | 'wrong' | null> {
  if (pin === null || !user.pin) return null;
  return (await isPin(keys.pin, user.id, pin, user.pin)) ? 'right' : 'wrong';
}

export function placeOfRecoveryCode(
  { keys }: Pick<VerifierOptions, 'keys'>,
  code: string | null,
  user: UserDocument,
): number | null {
  if (code === null || !user.recoveryCodes || readSpareCode(code) === null) return null;
  const hash = spareCodeHash(keys['spare-code'], 'recovery', user.id, code);
  const place = user.recoveryCodes.hashes.indexOf(hash);
  return place === -1 ? null : place;
}

/**
 * Who signs in where. What makes an earlier success worth nothing is part of it: another incarnation, and any change
 * of the user since, such as of PIN, method, phone or a block (rule 11).
 */
export function cacheKeyOf(
  { keys, incarnation }: Pick<VerifierOptions, 'keys' | 'incarnation'>,
  { attempt, user, settings }: Step,
): string | null {
  const { mode } = settings.caching;
  if (mode === 'off' || (mode !== 'user' && attempt.clientIp === null)) return null;
  return keyedHash(
    keys.challenge,
    'cache',
    user.id,
    attempt.caller.id,
    mode === 'user' ? '' : (attempt.clientIp ?? ''),
    mode === 'user+application+address' ? (attempt.application ?? '') : '',
    incarnation.id,
    user.updatedAt,
    attempt.password ?? '',
  ).toString('base64url');
}

/** Of all authenticators whose seed opens, by their id. */
export function openSecrets(
  { keys, log }: Pick<VerifierOptions, 'keys' | 'log'>,
  user: UserDocument,
): Map<string, Buffer> {
  const secrets = new Map<string, Buffer>();
  for (const { id, ...authenticator } of user.authenticators) {
    if (authenticator.type === 'phone') continue;
    try {
      const sealed = Buffer.from(authenticator.sealedSecret, 'base64');
      secrets.set(id, open(keys.seed, sealed, seedContext(id)));
    } catch (error) {
      log.error({ authenticator: id, error: String(error) }, 'a seed does not open');
    }
  }
  return secrets;
}
