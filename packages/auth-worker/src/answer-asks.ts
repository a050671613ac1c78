import type { Ask, AskAnswer, Settled, UserStates } from '@countersign/cluster';
import { grantAsk, settleForeign, type Database } from '@countersign/database';
import { encodeState, parseClaim } from '@countersign/verification';
import { readMostKnown } from './most-known.ts';

/** An ask is answered within 150 ms or not at all, so a log server gets a third of that. */
const DIRECT_GET_MS = 50;

/** Another node asks whether it may approve: reserve the item for it here, or say who has it. */
export async function answerAsk(
  options: { db: Database; states: UserStates },
  ask: Ask,
): Promise<Omit<AskAnswer, 'node'>> {
  const reading = readMostKnown(options, ask.userId, DIRECT_GET_MS);
  // A refusal says all there is to say, and says it at once: one that comes too late is none.
  reading.catch(() => undefined);
  const outcome = await grantAsk(options.db, { ...ask, holder: ask.node });
  if (outcome.kind === 'denied') {
    const { attemptId, phase, holder } = outcome;
    return { isGranted: false, refusedBy: { attemptId, phase, holder }, state: null };
  }
  const { state } = await reading;
  return { isGranted: true, state: state && Buffer.from(encodeState(state)).toString() };
}

/** Another node says how its step ended: its reservation here stays with its claim, or goes. */
export async function noteSettled(options: { db: Database }, settled: Settled): Promise<void> {
  const { userId, item, attemptId, node: holder, outcome } = settled;
  const claim = settled.claim === null ? null : parseClaim(settled.claim);
  await settleForeign(options.db, { userId, item, attemptId, holder, outcome, claim });
}
