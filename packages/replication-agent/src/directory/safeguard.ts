import { createHash } from 'node:crypto';
import { hasPassed } from './has-passed.ts';
import type { DirectorySyncDocument, Settings } from '@countersign/verification';

/** What is done to a user that an administrator may have to approve. */
export type Risk = 'disable' | 'remove' | 'phone';
export type RiskyStep = {
  userId: string;
  username: string;
  what: Risk;
  /** Those that the user would have, where it is about a phone. */
  numbers?: readonly string[];
};

type Taken = DirectorySyncDocument['taken'];
type Held = NonNullable<DirectorySyncDocument['held']>;

export type SafeguardInput = {
  steps: readonly RiskyStep[];
  /** In the last 24 hours. */
  taken: Taken;
  /** Users that the directory has here. */
  users: number;
  held: Held | null;
  limits: Pick<Settings['directories'], 'approvalUsers' | 'approvalPercent'>;
  now: Date;
};

/** go: all steps are taken. hold: none is, and `isNew` where nobody has decided about just these yet. */
export type Judged = { kind: 'go' } | { kind: 'hold'; hash: string; isNew: boolean };

const DAY_MS = 24 * 3_600_000;
const PERIOD_MS = 5 * 60_000;
/** A part of fewer users than this says nothing: one of ten would be held. */
const SMALL_DIRECTORY = 50;

/** Whether what a synchronisation would do to users waits for an administrator (security rule 5). */
export function judgeSteps(input: SafeguardInput): Judged {
  const { steps, held } = input;
  if (steps.length === 0) return { kind: 'go' };
  const hash = hashOfSteps(steps);
  const decision = held?.hash === hash ? held.decision : null;
  if (decision?.what === 'approved') return { kind: 'go' };
  if (decision?.what === 'rejected') return { kind: 'hold', hash, isNew: false };
  if (isWithinLimits(input)) return { kind: 'go' };
  return { kind: 'hold', hash, isNew: held?.hash !== hash };
}

/** Of who and what, all of it: the same steps have the same hash, in whatever order they were found. */
export function hashOfSteps(steps: readonly RiskyStep[]): string {
  const lines = steps
    .map(({ userId, what, numbers = [] }) => [userId, what, ...numbers].join(' '))
    .toSorted();
  return createHash('sha256').update(lines.join('\n')).digest('hex');
}

/** So many users may be disabled, removed or given another phone in 24 hours without an approval. */
export function limitOf(users: number, limits: SafeguardInput['limits']): number {
  const { approvalUsers, approvalPercent } = limits;
  if (users <= SMALL_DIRECTORY) return approvalUsers;
  return Math.min(approvalUsers, Math.floor((users * approvalPercent) / 100));
}

function isWithinLimits({ steps, taken, users, limits, now }: SafeguardInput): boolean {
  const before = takenSince(taken, now).reduce((sum, { count }) => sum + count, 0);
  return before + steps.length <= limitOf(users, limits);
}

/** What counts still: the steps of the last 24 hours. */
export function takenSince(taken: Taken, now: Date): Taken {
  return taken.filter(({ at }) => !hasPassed(Date.parse(at), DAY_MS + PERIOD_MS, now.getTime()));
}

/** With so many more, in the period of now; at most 300 periods. */
export function withTaken(taken: Taken, count: number, now: Date): Taken {
  const kept = takenSince(taken, now);
  if (count === 0) return kept;
  const at = new Date(Math.floor(now.getTime() / PERIOD_MS) * PERIOD_MS).toISOString();
  const known = kept.find((period) => period.at === at);
  if (!known) return [...kept, { at, count }].slice(-300);
  return kept.map((one) => (one === known ? { at, count: one.count + count } : one));
}
