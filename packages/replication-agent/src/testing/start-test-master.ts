import { randomUUID } from 'node:crypto';
import {
  ChangeLog,
  Lease,
  LEASE_TIMES,
  namesOf,
  readStreamState,
  type Command,
} from '@countersign/cluster';
import { sealerOf } from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import { authoriseCommand, proveSocket } from '../authorise.ts';
import { describeResult } from '../describe-result.ts';
import { AgentEvents } from '../events.ts';
import { Mastership } from '../mastership.ts';
import type { Joining } from '../members/describe-join.ts';
import { Replica } from '../replica.ts';
import { silent, type useTestLog } from './use-test-log.ts';

const node = 'node-1';

/**
 * A master alone, taking commands. `hold` is awaited before each command is authorised, and for a bulk request before
 * each of its slices.
 */
export async function startTestMaster(
  test: ReturnType<typeof useTestLog>,
  {
    hold,
    joining,
    keys = test.makeKeys(),
  }: {
    hold?(command: Command): Promise<void>;
    joining?: Joining;
    keys?: ReturnType<typeof test.makeKeys>;
  } = {},
) {
  const link = test.connect();
  const incarnation = await test.beginIncarnation(link);
  const db = await test.openDatabase();
  const sealer = sealerOf(keys.document);
  const instance = randomUUID();
  const replica = await Replica.open({
    db,
    link,
    incarnation,
    sealer,
    onApplied: () => undefined,
    onDiverged: async () => undefined,
    log: silent,
  });
  const lease: Lease = new Lease({
    link,
    incarnationNumber: incarnation.number,
    baseEpoch: 0,
    node,
    instance,
    isPromotable: true,
    policy: () => ({ mode: 'automatic', afterMs: 5000 }),
    isFit: () => replica.problem === null,
    onGain: (term) => mastership.begin(term),
    onLoss: () => mastership.end(),
    onMoved() {},
    // A log that answers late costs no term.
    times: { ...LEASE_TIMES, requestTimeoutMs: 3000 },
    log: silent,
  });
  const changeLog = new ChangeLog(link, incarnation, sealer);
  const mastership: Mastership = new Mastership({
    node,
    instance,
    baseRevision: 0,
    refuseChange: () => null,
    newestRevision: () => 0,
    db,
    log: silent,
    changeLog,
    lease,
    replica,
    keys,
    events: new AgentEvents(db, node, () => undefined),
    onRoleChange: () => undefined,
    authorise: async (command) => {
      await hold?.(command);
      return authoriseCommand({ db, keys }, command);
    },
    describeResult: (command, result) =>
      describeResult({ db, keys, ...(joining && { joining }) }, command, result),
  });
  const stop = new AbortController();
  const running = [replica.follow(stop.signal), lease.run(stop.signal)];
  test.atEnd(() => {
    stop.abort();
    return Promise.all(running);
  });
  await waitFor('the master', () => mastership.isActive, { timeoutMs: 15_000 });

  function command(
    name: string,
    args: Record<string, unknown>,
    remainingMs = 8000,
    commandId: string = randomUUID(),
  ): Command {
    const wish = { name, args, commandId };
    const proof = proveSocket(keys['socket-proof'], node, wish);
    return { ...wish, contentHash: name, actor: 'test', proof, remainingMs };
  }

  /** Until `release` nothing can be applied, though everything can be read. */
  async function stallApplying(): Promise<{ release(): Promise<void> }> {
    const held = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const holding = db.transaction(async (tx) => {
      await tx`select from applied for update`;
      held.resolve();
      await released.promise;
    });
    await held.promise;
    return {
      async release() {
        released.resolve();
        await holding;
      },
    };
  }

  const readLogEnd = async () => {
    const read = () => readStreamState(link, namesOf(incarnation.number).changes, 2000);
    return (await waitFor('the end of the log', read, { timeoutMs: 10_000 })).lastSequence;
  };

  /** As an agent does it before a log is left. */
  async function stopApplying(): Promise<void> {
    stop.abort();
    await running[0];
  }

  const place = { link, incarnation, keys, sealer, db, replica };
  const log = { changeLog, readLogEnd, lease, mastership };
  return { ...place, ...log, command, stallApplying, stopApplying };
}
