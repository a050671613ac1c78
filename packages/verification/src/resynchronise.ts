import { codesEqual, hotp, otpKey, totpStep } from './otp.ts';
import type { OtpParameters } from './otp.ts';

/** The most counters or steps that are tried in one call. */
export const RESYNC_LOOK_AHEAD_MAX = 1000;
export const RESYNC_DRIFT_MAX_STEPS = 10;

/**
 * Finds the counter of a token whose button was pressed unseen: the first one, among `lookAhead`
 * counters from the next expected one, from which on the token shows these codes in a row
 * (RFC 4226 §7.4). Null: nowhere. `lastCounter` is the last code's, used up with this. Always
 * computes `lookAhead` + codes - 1 HMACs, wherever they are found. With two codes of 6 digits and
 * 1,000 counters a guess is right once in 10⁹; the caller counts its failures all the same.
 * @throws RangeError for other than 2 or 3 codes, or a `lookAhead` not from 1 to 1,000
 */
export function findHotpCounter(search: {
  secret: Uint8Array;
  parameters: OtpParameters;
  /** In the order the token showed them. */
  codes: readonly string[];
  nextCounter: number;
  lookAhead?: number;
}): { lastCounter: number } | null {
  const { lookAhead = RESYNC_LOOK_AHEAD_MAX, nextCounter } = search;
  if (!(lookAhead >= 1 && lookAhead <= RESYNC_LOOK_AHEAD_MAX)) {
    throw new RangeError(`a look-ahead is from 1 to ${RESYNC_LOOK_AHEAD_MAX}`);
  }
  const first = findInARow({ ...search, from: nextCounter, count: lookAhead });
  return first === null ? null : { lastCounter: first + search.codes.length - 1 };
}

/**
 * Finds how many steps a token's clock is ahead (below 0: behind), at most 10, by two codes in a
 * row of which the second is the one it shows now. Null: no such drift. `lastStep` is the second
 * code's by the token's clock, used up with this. Always computes 2 × `windowSteps` + 2 HMACs.
 * @throws RangeError for other than 2 codes, or a window not from 0 to 10
 */
export function findTotpDrift(search: {
  secret: Uint8Array;
  parameters: OtpParameters;
  periodSeconds: number;
  codes: readonly [string, string];
  nowMs: number;
  windowSteps?: number;
}): { driftSteps: number; lastStep: number } | null {
  const { windowSteps = RESYNC_DRIFT_MAX_STEPS, nowMs, periodSeconds } = search;
  if (!(windowSteps >= 0 && windowSteps <= RESYNC_DRIFT_MAX_STEPS)) {
    throw new RangeError(`a window is from 0 to ${RESYNC_DRIFT_MAX_STEPS} steps`);
  }
  if (search.codes.length !== 2) throw new RangeError('a drift is found by 2 codes');
  const now = totpStep(nowMs, periodSeconds);
  const first = findInARow({ ...search, from: now - windowSteps - 1, count: 2 * windowSteps + 1 });
  return first === null ? null : { driftSteps: first + 1 - now, lastStep: first + 1 };
}

/** The first of `count` positions from which on the codes stand in a row. */
function findInARow(search: {
  secret: Uint8Array;
  parameters: OtpParameters;
  codes: readonly string[];
  from: number;
  count: number;
}): number | null {
  const { codes, from, count, parameters } = search;
  if (codes.length < 2 || codes.length > 3) throw new RangeError('2 or 3 codes find a counter');
  const key = otpKey(search.secret);
  const shown = Array.from({ length: count + codes.length - 1 }, (_, index) =>
    hotp(key, from + index, parameters),
  );
  // All are compared: the time taken must not tell where they were found.
  const found = Array.from({ length: count }, (_, index) => index).filter(
    (index) =>
      codes.map((code, after) => codesEqual(shown[index + after]!, code)).filter(Boolean).length ===
      codes.length,
  );
  return found[0] === undefined ? null : from + found[0];
}
