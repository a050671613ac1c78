import { setTimeout as sleep } from 'node:timers/promises';
import {
  areStatesShut,
  askAgent,
  openStates,
  shutStates,
  type AgentVerb,
  type Incarnation,
  type Lease,
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
import type { ChangePipeline } from './change-pipeline.ts';
import type { Mastership } from './mastership.ts';
import type { Witnesses } from './members/witnesses.ts';

export type MoveOptions = {
  node: string;
  db: Database;
  link: NatsLink;
  sealer: Sealer;
  incarnation: Incarnation;
  membership: Membership;
  lease: Lease;
  mastership: Mastership;
  /** They have no PostgreSQL to be asked about, and move when they are told. */
  witnesses: Pick<Witnesses, 'isWitness' | 'tellMove'>;
  log: Log;
};

/** Verification goes on without the quorum for as long at most, should the move stop half way. */
export const HOLD_MS = 60_000;
const ASK_MS = 4000;
const APPLIED_MS = 5000;
/** A verification waits for the log this long, and a little. */
export const OPEN_WRITES_MS = 900;
const DRAIN_MS = 5000;
/** Log servers sync their stores once a second. */
const ON_DISK_MS = 2000;

/**
 * Moves the log to `next`. What holds at every instant: **there is one compare-and-set that closes the old log, and
 * when it stands, nothing was acknowledged there that this node's PostgreSQL does not have.** Before it, nodes verify
 * without the log, earlier writes are applied here and on every node of the new layout, and later ones wait; user
 * states are shut for those who have not heard that they should; it fails when this node was not master under one and
 * the same term all the while. After it nobody can be master of the old log any more, this node neither: there is only
 * forward. Nobody is told, and nobody leaves by itself, before the log's servers have it on disk. So whoever comes back
 * to the old log, also after a power loss and whatever it has noted, reads there where it went. The new log is filled
 * by this node, or by one that had all of it applied.
 *
 * False when the old log was not closed: everything is as before, but for the next epoch of this node.
 */
export async function moveLog(next: LogLayout, options: MoveOptions): Promise<boolean> {
  const { db, membership, mastership, lease, witnesses, log } = options;
  const { pipeline } = mastership;
  if (!pipeline?.isOpen || mastership.isHandingOver) return false;
  const others = membership.online().filter((seen) => seen.node !== options.node);
  const needed = next.servers
    .map(({ name }) => name)
    .filter((name) => name !== options.node && !witnesses.isWitness(name));
  /** Who of those that are needed did not say yes. */
  const askAll: AskAll = async (verb, body, timeoutMs) => {
    const answers = await Promise.all(
      others.map(async (other) => ({
        node: other.node,
        isOk: (await askAgent(options, other.node, verb, body, timeoutMs))?.ok === true,
      })),
    );
    return needed.filter((name) => !answers.some((answer) => answer.node === name && answer.isOk));
  };

  log.info({ servers: next.servers.map(({ name }) => name) }, 'moving the log');
  mastership.isHandingOver = true;
  const closing = await closeDrained(next, pipeline, askAll, options).catch(
    (error: unknown): Closing => ({ kind: 'kept', why: String(error) }),
  );
  if (closing.kind !== 'closed') {
    log.warn({ ...closing }, 'the log stays where it is');
    // Without the lease that is for the next master, which may be moving the log itself.
    if (closing.kind === 'kept' && lease.isHeld) await letWrite(options);
    mastership.isHandingOver = false;
    // It may be closed yet: the circuits stay open for their minute.
    if (closing.kind === 'unknown') return false;
    await askAll('release', {}, ASK_MS);
    await releaseCircuit(db);
    return false;
  }
  await sleep(ON_DISK_MS);
  witnesses.tellMove(next);
  const unmoved = await askAll('move', { layout: next }, ASK_MS);
  if (unmoved.length > 0) log.warn({ unmoved }, 'not everybody has said that it moves');
  return true;
}

type AskAll = (
  verb: AgentVerb,
  body: Record<string, unknown>,
  timeoutMs: number,
) => Promise<string[]>;

type Closing = { kind: 'closed' } | { kind: 'kept'; why: string } | { kind: 'unknown' };

/** Closes the log as soon as nothing is in it that would be left behind. */
async function closeDrained(
  next: LogLayout,
  pipeline: ChangePipeline,
  askAll: AskAll,
  options: MoveOptions,
): Promise<Closing> {
  const { db, link, mastership, lease, incarnation } = options;
  const { term } = pipeline;
  const unheld = await askAll('hold', {}, ASK_MS);
  if (unheld.length > 0) return kept(`${unheld.join(', ')} did not answer`);
  await holdCircuitOpen(db, 'the log moves', HOLD_MS);
  // Writes come in turn: this one has them to itself until the log is closed.
  const closing = await mastership.inTurn(async (): Promise<Closing> => {
    const revision = pipeline.end + incarnation.baseRevision;
    const isApplied = await mastership.hasApplied(revision, term, performance.now() + APPLIED_MS);
    if (!isApplied) return kept('earlier writes are not applied here');
    const late = await askAll('applied', { revision, timeoutMs: APPLIED_MS }, APPLIED_MS + 500);
    if (late.length > 0) return kept(`${late.join(', ')} did not catch up`);
    await sleep(OPEN_WRITES_MS);
    if (!term.isValid()) return kept('the lease was lost meanwhile');
    // Nodes that did not hear of it, and what was on its way for longer, are refused from here on.
    const end = await shutStates(link, incarnation.number);
    if (end === null) return kept('the log has no user states');
    if (!(await haveStatesArrived(end, options))) return kept('user states did not arrive in time');
    if (!(await areStatesShut(link, incarnation.number))) return kept('user states were let in');
    const outcome = await lease.closeLog(next, term);
    return outcome === 'kept' ? kept('the lease was lost meanwhile') : { kind: outcome };
  });
  return closing ?? kept('earlier writes did not end in time');
}

function kept(why: string): Closing {
  return { kind: 'kept', why };
}

/** Waits until this node's PostgreSQL has the user states up to that position. */
async function haveStatesArrived(end: number, { db }: MoveOptions): Promise<boolean> {
  const giveUpAt = performance.now() + DRAIN_MS;
  while (performance.now() < giveUpAt) {
    if ((await readPosition(db, 'states')) >= end) return true;
    await sleep(50);
  }
  return false;
}

/** Where it does not work now, the master does it later. */
async function letWrite({ link, incarnation, log }: MoveOptions): Promise<void> {
  await openStates(link, incarnation.number).catch((error: unknown) => {
    log.warn({ error: String(error) }, 'user states cannot be written yet');
  });
}
