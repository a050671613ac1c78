import type { UserDocument } from './documents.ts';
import type { LockoutSettings, Settings } from './settings.ts';
import { FACTORS } from './methods.ts';
import type { Factor } from './methods.ts';
import { LOCKED_UNTIL_UNLOCKED, noFailures } from './user-state.ts';
import type { MethodFailures, UserState } from './user-state.ts';

const MINUTE_MS = 60_000;
const LOCK_MAX_MS = 24 * 60 * MINUTE_MS;
/** NIST SP 800-63B-4 §3.2.2: no more than 100 consecutive failures per account. */
const CONSECUTIVE_MAX = 100;

/**
 * The counts that are in force: none, if an administrator unlocked the user after they began.
 * Each unlock is honoured once, by name and not by comparing clocks: a node whose clock is behind
 * would otherwise go on voiding the failures it counts.
 */
export function failuresInForce(
  failures: MethodFailures,
  user: Pick<UserDocument, 'unlockedAt'>,
): MethodFailures {
  const unlockedAt = user.unlockedAt === null ? 0 : Date.parse(user.unlockedAt);
  return unlockedAt > failures.unlockedAt ? { ...failures, ...noFailures, unlockedAt } : failures;
}

export function isLocked(failures: MethodFailures, nowMs: number): boolean {
  return failures.lockedUntil === LOCKED_UNTIL_UNLOCKED || nowMs < failures.lockedUntil;
}

/** Whether a lockout begins between two states of a user. */
export function beginsLockout(before: UserState, after: UserState): boolean {
  return FACTORS.some((factor) => {
    const [was, is] = [before, after].map(({ methods }) => methods[factor] ?? noFailures);
    const isForGood = is!.lockedUntil === LOCKED_UNTIL_UNLOCKED;
    return is!.lockouts > was!.lockouts || (isForGood && was!.lockedUntil !== is!.lockedUntil);
  });
}

/**
 * What locks a factor. A password is the directory's, which locks its account by itself: with fewer failures, and
 * again after as long as it forgets them, this goes first.
 */
export function lockoutOf({ lockout }: Pick<Settings, 'lockout'>, factor: Factor): LockoutSettings {
  if (factor !== 'password') return lockout;
  const { passwordFailures: failures, passwordMinutes: minutes } = lockout;
  return { ...lockout, failures, resetMinutes: minutes, releaseMinutes: minutes };
}

export type AddedFailures = {
  count: number;
  /** More of them, too old for the window: they weigh on the consecutive count only. */
  outsideWindow?: number;
  lockout: LockoutSettings;
  nowMs: number;
};

/**
 * The counts after more failures. Reaching the limit locks for the release time, doubled for each
 * lockout since the last success, at most a day, and empties the window.
 */
export function addFailures(before: MethodFailures, added: AddedFailures): MethodFailures {
  const { count, outsideWindow = 0, lockout, nowMs } = added;
  const window = currentWindow(before, lockout, nowMs);
  const total = window.failures + count;
  // A limit that was lowered meanwhile locks at the next failure, not without one.
  const newLockouts = count > 0 ? Math.floor(total / lockout.failures) : 0;
  const failures = total - newLockouts * lockout.failures;
  const lockouts = before.lockouts + newLockouts;
  const consecutive = before.consecutive + count + outsideWindow;
  let { lockedUntil } = before;
  if (newLockouts > 0) lockedUntil = laterLock(lockedUntil, nowMs + lockMs(lockouts, lockout));
  if (consecutive >= CONSECUTIVE_MAX) lockedUntil = LOCKED_UNTIL_UNLOCKED;
  return {
    ...before,
    failures,
    firstFailureAt: failures === 0 ? 0 : window.firstFailureAt,
    lockedUntil,
    lockouts,
    consecutive,
  };
}

/** The counts after a success: nothing is left but the unlock they came after. */
export function clearFailures(before: MethodFailures): MethodFailures {
  return { ...before, ...noFailures, unlockedAt: before.unlockedAt };
}

/** Failures that count now: those of the current window. */
export function countedFailures(
  failures: MethodFailures,
  lockout: LockoutSettings,
  nowMs: number,
): number {
  return currentWindow(failures, lockout, nowMs).failures;
}

export function laterLock(a: number, b: number): number {
  if (a === LOCKED_UNTIL_UNLOCKED || b === LOCKED_UNTIL_UNLOCKED) return LOCKED_UNTIL_UNLOCKED;
  return Math.max(a, b);
}

function currentWindow(
  { failures, firstFailureAt }: MethodFailures,
  lockout: LockoutSettings,
  nowMs: number,
): { failures: number; firstFailureAt: number } {
  const isOver = nowMs - firstFailureAt >= lockout.resetMinutes * MINUTE_MS;
  return failures === 0 || isOver
    ? { failures: 0, firstFailureAt: nowMs }
    : { failures, firstFailureAt };
}

function lockMs(lockouts: number, lockout: LockoutSettings): number {
  return Math.min(lockout.releaseMinutes * MINUTE_MS * 2 ** (lockouts - 1), LOCK_MAX_MS);
}
