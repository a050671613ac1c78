import { setTimeout as sleep } from 'node:timers/promises';
import type { VerificationOutcome, VerificationPoll } from '@countersign/api';
import { challengeOutcome, parseState, type DenialReason } from '@countersign/verification';
import { readMostKnown } from './most-known.ts';
import type { Questions } from './questions.ts';
import type { VerifierOptions } from './verifier-options.ts';

const POLL_MS = 300;
const DIRECT_GET_MS = 100;
const TOLD_MS = 150;

/**
 * How a question stands. It is asked of the log, for it may have been answered on any node. Throws when PostgreSQL does
 * not answer.
 */
export async function pollQuestion(
  options: Pick<VerifierOptions, 'db' | 'gate' | 'states'>,
  questions: Questions,
  poll: VerificationPoll,
): Promise<VerificationOutcome | { kind: 'open'; id: string }> {
  const { id } = poll.challenge;
  const opened = await questions.open({ ...poll, username: null }, poll.challenge);
  const told = (verdict: { approved: boolean; reason?: DenialReason }) =>
    ({ kind: 'verdict', id, degraded: false, ...verdict }) as const;
  if (opened.kind === 'refused') {
    const { reason, expiresAt = 0 } = opened;
    // A stranger's question to nobody looks like one that is not answered yet.
    const isShownOpen = !poll.caller.scopes.has('reasons:read') && Date.now() < expiresAt;
    return isShownOpen ? { kind: 'open', id } : told({ approved: false, reason });
  }
  const { states, gate } = options;
  const { userId, expiresAt } = opened.challenge;
  const read = await states.readThroughLeader(userId, POLL_MS);
  const known = async () => {
    const most = await gate.pass(() => readMostKnown(options, userId, DIRECT_GET_MS));
    return most.state && challengeOutcome(most.state, id);
  };
  let outcome =
    read.kind === 'found' ? challengeOutcome(parseState(read.bytes), id) : await known();
  if (outcome === null && read.kind === 'silent') {
    // What another node tells when it has answered is here by then, or that node is out of reach.
    await sleep(TOLD_MS);
    outcome = await known();
  }
  if (outcome === 'approved') return told({ approved: true });
  if (outcome === 'denied') return told({ approved: false, reason: 'challenge_spent' });
  if (Date.now() >= expiresAt) return told({ approved: false, reason: 'expired' });
  return { kind: 'open', id };
}
