import { randomUUID } from 'node:crypto';
import { ChangeLog, Lease, type Command } from '@countersign/cluster';
import { countDocuments, findUser } from '@countersign/database';
import { sealerOf } from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import { describe, expect, it } from 'vitest';
import { authoriseCommand, proveSocket } from './authorise.ts';
import { describeResult } from './describe-result.ts';
import { AgentEvents } from './events.ts';
import { Mastership } from './mastership.ts';
import { Replica } from './replica.ts';
import { silent, useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const node = 'node-1';

/** A master alone, taking commands. */
async function startMaster() {
  const link = test.connect();
  const incarnation = await test.beginIncarnation(link);
  const db = await test.openDatabase();
  const keys = test.makeKeys();
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
    log: silent,
  });
  const mastership: Mastership = new Mastership({
    node,
    instance,
    baseRevision: 0,
    newestRevision: () => 0,
    db,
    log: silent,
    changeLog: new ChangeLog(link, incarnation, sealer),
    lease,
    replica,
    seedKey: keys.seed,
    events: new AgentEvents(db, node, () => undefined),
    refuseChange: () => null,
    onRoleChange: () => undefined,
    authorise: (command) => authoriseCommand({ db, socketKey: keys['socket-proof'] }, command),
    describeResult: (command, result) =>
      describeResult({ db, seedKey: keys.seed }, command, result),
  });
  const stop = new AbortController();
  const running = [replica.follow(stop.signal), lease.run(stop.signal)];
  test.atEnd(() => {
    stop.abort();
    return Promise.all(running);
  });
  await waitFor('the master', () => mastership.isActive, { timeoutMs: 15_000 });

  function command(name: string, args: Record<string, unknown>, remainingMs = 8000): Command {
    const wish = { name, args, commandId: randomUUID() };
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

  return { db, replica, mastership, command, stallApplying };
}

describe('a master', () => {
  it('judges no command before its replica has applied all earlier ones', async () => {
    const { db, replica, mastership, command, stallApplying } = await startMaster();
    await mastership.handle(command('user.add', { username: 'alice' }));
    const stall = await stallApplying();
    const block = { username: 'alice', reason: 'stolen token', days: 1 };
    expect(await mastership.handle(command('user.block', block, 500))).toEqual({ kind: 'unknown' });
    const changes = { displayName: 'Alice' };
    const tooEarly = command(
      'user.set',
      { username: 'alice', changes: { email: 'a@b.example' } },
      500,
    );
    expect(await mastership.handle(tooEarly)).toMatchObject({ kind: 'refused', code: 'busy' });
    const { revision } = replica.applied;
    await stall.release();
    const renamed = await mastership.handle(command('user.set', { username: 'alice', changes }));
    expect(renamed).toMatchObject({ kind: 'done', revision: revision + 2 });
    const user = await findUser(db, 'alice');
    if (user === null || user === 'ambiguous') throw new Error('alice is gone');
    expect(user.document.displayName).toBe('Alice');
    expect(user.document.blocked?.reason).toBe('stolen token');
  }, 30_000);

  it('has applied a change of its own when it says that it is written', async () => {
    const { db, mastership, stallApplying } = await startMaster();
    const document = { id: node, name: node, addedAt: new Date().toISOString(), version: '1' };
    const stall = await stallApplying();
    const written = mastership.write({ kind: 'node', id: node, document });
    const first = await Promise.race([written, wait(700)]);
    await stall.release();
    expect(first).toBe('later');
    expect(await written).toBe(true);
    expect(await countDocuments(db, 'node')).toBe(1);
  }, 30_000);

  it('refuses a document that no replica could read, and goes on', async () => {
    const { replica, mastership, command } = await startMaster();
    const bell = command('user.add', { username: 'alice', displayName: 'ring \u0007' });
    expect(await mastership.handle(bell)).toMatchObject({
      kind: 'refused',
      status: 400,
      code: 'invalid_request',
    });
    expect(await mastership.write({ kind: 'node', id: 'No Name', document: {} })).toBe(false);
    const added = await mastership.handle(command('user.add', { username: 'bob' }));
    expect(added).toMatchObject({ kind: 'done' });
    expect(replica.problem).toBeNull();
  }, 30_000);

  it('tells the result of an earlier command only to who may give that command', async () => {
    const { mastership, command } = await startMaster();
    await mastership.handle(command('user.add', { username: 'alice' }));
    const enrolment = command('authenticator.enroll', { username: 'alice', type: 'totp' });
    const first = await mastership.handle(enrolment);
    expect(first).toMatchObject({ result: { otpauth: expect.stringMatching(/^otpauth:/) } });
    expect(await mastership.handle(enrolment)).toEqual(first);
    const forged = { ...enrolment, proof: { ...enrolment.proof, token: 'AAAA' } };
    expect(await mastership.handle(forged)).toMatchObject({ kind: 'refused', status: 401 });
  }, 30_000);
});

function wait(ms: number): Promise<'later'> {
  return new Promise((resolve) => setTimeout(resolve, ms, 'later'));
}
