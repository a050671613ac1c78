import type { Ask, AskAnswer, Settled, UserStates } from '@countersign/cluster';
import { grantAsk, readSettings, settleForeign, type Database } from '@countersign/database';
import { encodeState, type Claim } from '@countersign/verification';
import { readMostKnown } from './most-known.ts';

/** An ask is answered within 150 ms or not at all, so a log server gets a third of that. */
const DIRECT_GET_MS = 50;

/** Another node asks whether it may approve: reserve the item for it here, or say who has it. */
export async function answerAsk(
  options: { db: Database; states: UserStates },
  ask: Ask,
): Promise<Omit<AskAnswer, 'node'>> {
  const { settings } = await readSettings(options.db);
  const [outcome, most] = await Promise.all([
    grantAsk(options.db, { ...ask, holder: ask.node }),
    readMostKnown(options, ask.userId, settings, DIRECT_GET_MS),
  ]);
  const state = most.state ? Buffer.from(encodeState(most.state)).toString() : null;
  if (outcome.kind === 'granted') return { isGranted: true, state };
  const { attemptId, phase, holder } = outcome;
  return { isGranted: false, refusedBy: { attemptId, phase, holder }, state };
}

/** Another node says how its step ended: its reservation here stays with its claim, or goes. */
export async function noteSettled(options: { db: Database }, settled: Settled): Promise<void> {
  const { userId, item, attemptId, node: holder, outcome } = settled;
  const claim = settled.claim as Claim | null;
  await settleForeign(options.db, { userId, item, attemptId, holder, outcome, claim });
}
