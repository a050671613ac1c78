import { setTimeout as sleep } from 'node:timers/promises';
import {
  askAgent,
  namesOf,
  readStreamState,
  type AgentVerb,
  type LogLayout,
  type Membership,
  type NatsLink,
  type Log,
  type Sealer,
} from '@countersign/cluster';
import {
  holdCircuitOpen,
  readPosition,
  releaseCircuit,
  type Database,
} from '@countersign/database';
import type { Mastership } from './mastership.ts';
import type { Replica } from './replica.ts';

export type MoveOptions = {
  node: string;
  db: Database;
  link: NatsLink;
  sealer: Sealer;
  incarnationNumber: number;
  membership: Membership;
  mastership: Mastership;
  replica: Replica;
  log: Log;
};

/** Verification goes on without the quorum for as long at most, should the move stop half way. */
export const HOLD_MS = 60_000;
const ASK_MS = 4000;
const APPLIED_MS = 5000;
/** A verification waits for the log this long, and a little. */
export const OPEN_WRITES_MS = 900;
const DRAIN_MS = 5000;

/**
 * Brings the cluster to the point where nothing is in the old log that the master's PostgreSQL does not have: nodes
 * verify without the log, writes have stopped, user states are followed to the end. Then tells everybody the new
 * layout. False, with everything as before, when a node of the new layout does not take part.
 */
export async function moveLog(next: LogLayout, options: MoveOptions): Promise<boolean> {
  const { node, db, membership, mastership, replica, log } = options;
  const others = membership.online().filter((seen) => seen.node !== node);
  const needed = next.servers.map(({ name }) => name).filter((name) => name !== node);
  const askAll = async (verb: AgentVerb, body: Record<string, unknown>, timeoutMs: number) => {
    const answers = await Promise.all(
      others.map(async (other) => ({
        node: other.node,
        isOk: (await askAgent(options, other.node, verb, body, timeoutMs))?.ok === true,
      })),
    );
    return needed.filter((name) => !answers.some((answer) => answer.node === name && answer.isOk));
  };
  const giveUp = async (why: string): Promise<false> => {
    log.warn({ why }, 'the log stays where it is');
    await askAll('release', {}, ASK_MS);
    await releaseCircuit(db);
    mastership.isHandingOver = false;
    return false;
  };

  log.info({ servers: next.servers.map(({ name }) => name) }, 'moving the log');
  const unheld = await askAll('hold', {}, ASK_MS);
  if (unheld.length > 0) return giveUp(`${unheld.join(', ')} did not answer`);
  await holdCircuitOpen(db, 'the log moves', HOLD_MS);
  mastership.isHandingOver = true;
  const hasMoved = await mastership.inTurn(async () => {
    const { revision } = replica.applied;
    const late = await askAll('applied', { revision, timeoutMs: APPLIED_MS }, APPLIED_MS + 500);
    if (late.length > 0) return giveUp(`${late.join(', ')} did not catch up`);
    await sleep(OPEN_WRITES_MS);
    if (!(await haveStatesArrived(options))) return giveUp('user states did not arrive in time');
    const unmoved = await askAll('move', { layout: next }, ASK_MS);
    // From here on there is only forward: some have left.
    if (unmoved.length > 0) log.warn({ unmoved }, 'not everybody has said that it moves');
    return true;
  });
  return hasMoved ?? giveUp('earlier writes did not end in time');
}

/** Waits until this node's PostgreSQL has every user state that stands in the log now. */
async function haveStatesArrived(options: MoveOptions): Promise<boolean> {
  const { db, link, incarnationNumber } = options;
  const end = await readStreamState(link, namesOf(incarnationNumber).states, 2000);
  if (!end) return false;
  const giveUpAt = performance.now() + DRAIN_MS;
  while (performance.now() < giveUpAt) {
    if ((await readPosition(db, 'states')) >= end.lastSequence) return true;
    await sleep(50);
  }
  return false;
}
