import { setTimeout as sleep } from 'node:timers/promises';
import { retryJitterMs } from '@countersign/cluster';
import { lockoutOf, mergeStates, parseState, type UserState } from '@countersign/verification';
import { readMostKnown } from './most-known.ts';
import type { Known, LocalCounts, Step } from './step.ts';
import type { VerifierOptions } from './verifier-options.ts';

type Reading = Pick<VerifierOptions, 'db' | 'gate' | 'states' | 'circuit'>;

/** How long the store is asked to confirm what an old copy says. */
export const CONFIRM_MS = 300;
const DIRECT_GET_MS = 100;

/**
 * What an old copy takes for a used code of a counter may be that of a later one: one of a million are alike. Null
 * where the copy is not old, or the store silent.
 */
export async function confirmState(
  options: Reading,
  step: Step,
  revision: number,
): Promise<Known | null> {
  const read = await readNewerState(options, step, revision, CONFIRM_MS);
  return read?.kind === 'newer' ? read : null;
}

/** The store's word on the user's state; null: it is no newer than this. */
export async function readNewerState(
  options: Reading,
  step: Step,
  revision: number,
  timeoutMs: number,
) {
  const read = await options.states.readThroughLeader(step.user.id, timeoutMs);
  if (read.kind === 'silent') return read;
  if (read.kind !== 'found' || read.revision <= revision) return null;
  return { kind: 'newer' as const, state: parseState(read.bytes), revision: read.revision };
}

/**
 * After a lost compare-and-set: the leader's word, asked until it differs from what lost. Revisions only grow: none
 * or a smaller one means a bucket begun anew, which must not make used codes good again.
 */
export async function readUntilNewer(
  options: Reading,
  step: Step,
  state: UserState,
  revision: number,
): Promise<{ state: UserState; revision: number } | 'silent'> {
  for (;;) {
    const remainingMs = step.quorumUntil - performance.now();
    if (remainingMs <= 0) return 'silent';
    const read = await options.states.readThroughLeader(step.user.id, remainingMs);
    if (read.kind === 'silent') {
      await options.circuit.noteSilence(step.user.id, read.why);
      return 'silent';
    }
    if (read.kind === 'found' && read.revision !== revision) {
      const told = parseState(read.bytes);
      const isOlder = read.revision < revision;
      return { state: isOlder ? mergeStates(state, told) : told, revision: read.revision };
    }
    if (read.kind === 'absent' && revision !== 0) return { state, revision: 0 };
    await sleep(retryJitterMs());
  }
}

/** Own store, what other attempts here have claimed, and any log server's copy. */
export async function mostKnownOf(
  options: Reading,
  step: Step,
  known: UserState,
): Promise<{ state: UserState; local: LocalCounts }> {
  const most = await options.gate.pass(() => readMostKnown(options, step.user.id, DIRECT_GET_MS));
  const unlocked = step.user.unlockedAt === null ? 0 : Date.parse(step.user.unlockedAt);
  const localFailures = { code: 0, pin: 0, password: 0 };
  for (const { factor = 'code', unlockedAt, at } of most.failures) {
    const { resetMinutes } = lockoutOf(step.settings, factor);
    const isCounted = unlockedAt >= unlocked && at > Date.now() - resetMinutes * 60_000;
    if (isCounted) localFailures[factor] += 1;
  }
  const textsSince = Date.now() - 3_600_000;
  return {
    state: most.state ? mergeStates(known, most.state) : known,
    local: {
      localFailures,
      localTexts: most.texts.filter(({ at }) => at > textsSince).length,
      localAnswers: most.answered,
    },
  };
}
