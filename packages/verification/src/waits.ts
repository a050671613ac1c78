import { isLongOver, shortId } from './user-state.ts';
import type { UserState, Wait } from './user-state.ts';

/** Of one user at once: whoever has a password must not make a phone ring without end. */
export const WAITS_MAX = 4;
/** Sides that cannot see each other may each begin as many as there may be. */
export const WAITS_KEPT_MAX = 6;
/** In an hour without a success: who gives up and begins again asks again. */
export const ASKED_MAX = 10;
const HOUR_SECONDS = 3600;

/** How a question ended that was answered elsewhere, such as on a phone. */
export type WaitAnswer = 'approved' | 'declined';

export const WAIT_OPEN = 0;
export const ANSWERS = { approved: 1, declined: 2 } as const;

/** What `waits` and `spent` know a question by. */
export function questionKey(questionId: string): string {
  return shortId(`challenge:${questionId}`);
}

/** Those that somebody may still wait for. */
export function waitsInForce({ waits = [], spent }: UserState, nowMs: number): Wait[] {
  return waits.filter(([key, until]) => !isLongOver(until, nowMs) && !(spent?.[key]?.[2] ?? 0));
}

/** How often somebody was asked of late, oldest first. */
export function recentlyAsked(
  { askedElsewhere = [] }: Pick<UserState, 'askedElsewhere'>,
  nowMs: number,
): number[] {
  return askedElsewhere.filter((at) => at > nowMs / 1000 - HOUR_SECONDS).slice(-ASKED_MAX);
}

/** The one that this attempt began, if nobody was told yet how it ended. */
export function findWait(state: UserState, attemptId: string, nowMs: number): Wait | null {
  const id = shortId(attemptId);
  const open = waitsInForce(state, nowMs);
  return open.find(([, until, , attempt]) => attempt === id && nowMs < until * 1000) ?? null;
}

export function waitOfQuestion(state: UserState, questionId: string, nowMs: number): Wait | null {
  const key = questionKey(questionId);
  return waitsInForce(state, nowMs).find(([of]) => of === key) ?? null;
}

export function answerOf([, , answer]: Wait): WaitAnswer | null {
  if (answer === WAIT_OPEN) return null;
  return answer === ANSWERS.approved ? 'approved' : 'declined';
}

/**
 * Somebody's answer to a question that is waited for. The first one counts: `repeated` says that it is this one. `over`:
 * nobody waits for it any more, or never did.
 */
export function answerWait(
  state: UserState,
  { questionId, answer, nowMs }: { questionId: string; answer: WaitAnswer; nowMs: number },
): { kind: 'answered'; next: UserState; wait: Wait } | { kind: 'repeated' } | { kind: 'over' } {
  const wait = waitOfQuestion(state, questionId, nowMs);
  if (!wait || nowMs >= wait[1] * 1000) return { kind: 'over' };
  const before = answerOf(wait);
  if (before !== null) return { kind: before === answer ? 'repeated' : 'over' };
  const [key, until, , attempt, holder] = wait;
  const answered: Wait = [key, until, ANSWERS[answer], attempt, holder];
  const waits = waitsInForce(state, nowMs).map((one) => (one === wait ? answered : one));
  return { kind: 'answered', next: { ...state, waits }, wait: answered };
}

/**
 * Of a question that reached nobody: nobody waits for it, and whoever sends the sign-in again is told so. Null: there is
 * none, or somebody answered it after all.
 */
export function withdrawWait(
  state: UserState,
  { questionId, nowMs }: { questionId: string; nowMs: number },
): UserState | null {
  const wait = waitOfQuestion(state, questionId, nowMs);
  if (!wait || answerOf(wait) !== null) return null;
  const [key, , , id] = wait;
  const attempts = state.attempts.map((one) =>
    one.id === id && one.reason === 'sent' ? { ...one, reason: 'not_delivered' as const } : one,
  );
  return { ...state, attempts, waits: waitsInForce(state, nowMs).filter(([of]) => of !== key) };
}

/** Whether a state knows that of it already, or nobody needs to. */
export function holdsWait(
  { waits = [], spent }: UserState,
  [key, until, answer]: Wait,
  nowMs: number,
): boolean {
  if (isLongOver(until, nowMs) || spent?.[key]?.[2]) return true;
  return waits.some((known) => known[0] === key && known[2] >= answer);
}

/** As many as a state has room for: those that end last. */
export function latestWaits(waits: readonly Wait[]): Wait[] {
  const byEnd = waits.toSorted((x, y) => x[1] - y[1] || (x[0] < y[0] ? -1 : 1));
  return byEnd.slice(-WAITS_KEPT_MAX);
}

/** Both sides' waits: of one that both know, the answer that denies. */
export function unionWaits(a: readonly Wait[], b: readonly Wait[]): Wait[] {
  const union = new Map(a.map((wait) => [wait[0], wait]));
  for (const wait of b) {
    const known = union.get(wait[0]);
    union.set(wait[0], known ? laterWait(known, wait) : wait);
  }
  return latestWaits([...union.values()]);
}

function laterWait(a: Wait, b: Wait): Wait {
  if (a[2] !== b[2]) return a[2] > b[2] ? a : b;
  return JSON.stringify(a) >= JSON.stringify(b) ? a : b;
}
