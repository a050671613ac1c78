import { randomUUID } from 'node:crypto';
import type { Command } from '@countersign/cluster';
import { countDocuments, findUser, listEvents } from '@countersign/database';
import { waitFor } from '@countersign/testing';
import { encodeBase32, generateSecret } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import type { BulkOutcome } from './bulk-runner.ts';
import { startTestMaster } from './testing/start-test-master.ts';
import { useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();

type Master = Awaited<ReturnType<typeof startTestMaster>>;

async function addMany(master: Master, command: Command): Promise<BulkOutcome[]> {
  const reply = await master.mastership.handle(command);
  if (reply.kind !== 'done') throw new Error(JSON.stringify(reply));
  return reply.result.results as BulkOutcome[];
}

const namesFrom = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, i) => ({ username: `${prefix}-${i}` }));

describe('a bulk request', () => {
  it('adds each user by itself, and a repeat gets the first results', async () => {
    const master = await startTestMaster(test);
    await master.mastership.handle(master.command('user.add', { username: 'Taken' }));
    const users = [
      ...namesFrom('many', 150),
      { username: 'taken' },
      { username: 'MANY-3' },
      { username: 'bell \u0007' },
      { username: 'colour', shoeSize: 43 },
      { username: 'token', authenticators: [{ type: 'totp' }] },
      { username: 'known', authenticators: [{ type: 'hotp', secret: 'ab' }] },
    ];
    const command = master.command('user.add-many', { users });
    const first = await addMany(master, command);
    expect(first.slice(0, 150).every((one) => one.status === 201)).toBe(true);
    expect(first.slice(150)).toEqual([
      expect.objectContaining({ status: 409, code: 'username_taken' }),
      expect.objectContaining({ status: 409, code: 'username_taken' }),
      expect.objectContaining({ status: 400, code: 'invalid_request' }),
      expect.objectContaining({ status: 400, code: 'invalid_request' }),
      {
        status: 201,
        id: expect.any(String),
        revision: expect.any(Number),
        authenticators: [
          { id: expect.any(String), otpauth: expect.stringMatching(/^otpauth:.*token/) },
        ],
      },
      expect.objectContaining({ status: 400, code: 'invalid_request' }),
    ]);
    expect(await countDocuments(master.db, 'user')).toBe(152);
    const { revision } = master.replica.applied;
    expect(await addMany(master, command)).toEqual(first);
    expect(master.replica.applied.revision).toBe(revision);

    const { commandId } = command;
    const others = { users: namesFrom('other', 1) };
    const conflict = master.command('user.add-many', others, 8000, commandId);
    expect(await addMany(master, conflict)).toMatchObject([
      { status: 422, code: 'idempotency_conflict' },
    ]);
  }, 30_000);

  it('takes a token once, whoever brings it: of two in a request, in two requests, or beside a single command', async () => {
    const master = await startTestMaster(test);
    const secret = () => encodeBase32(generateSecret());
    const user = (username: string, token: object) => ({
      username,
      authenticators: [{ type: 'totp', ...token }],
    });
    const [first, second, third] = [secret(), secret(), secret()];
    const codes = async (users: object[]) => {
      const outcomes = await addMany(master, master.command('user.add-many', { users }));
      return outcomes.map((one) => ('code' in one ? one.code : one.status));
    };
    expect(
      await codes([
        user('twin-1', { secret: first, serial: 'X-1' }),
        user('twin-2', { secret: first.toLowerCase() }),
        user('twin-3', { serial: 'x-1' }),
        user('twin-4', { secret: second }),
        user('twin-5', {}),
      ]),
    ).toEqual([201, 'duplicate_token', 'duplicate_token', 201, 201]);
    expect(await codes([user('twin-6', { secret: second }), user('twin-7', {})])).toEqual([
      'duplicate_token',
      201,
    ]);
    const single = { username: 'twin-5', type: 'hotp', secret: third };
    const [bulk, alone] = await Promise.all([
      codes([user('twin-8', { secret: third })]),
      master.mastership.handle(master.command('authenticator.enroll', single)),
    ]);
    expect([bulk[0] === 201, alone.kind === 'done'].toSorted()).toEqual([false, true]);
    const six = {
      username: 'six',
      authenticators: Array.from({ length: 6 }, () => ({ type: 'totp' })),
    };
    expect(await codes([six])).toEqual(['too_many_authenticators']);
  }, 30_000);

  it('leaves one event for the users that are sent together', async () => {
    const master = await startTestMaster(test);
    const added = await addMany(
      master,
      master.command('user.add-many', { users: namesFrom('evented', 64) }),
    );
    const events = await listEvents(master.db, { type: 'user.add-many', limit: 10 });
    expect(events).toHaveLength(1);
    const ids = added.map((one) => ('id' in one ? one.id : ''));
    expect(events[0]).toMatchObject({ actor: 'test', result: 'done', details: { count: 64 } });
    expect(new Set(events[0]!.details.userIds as string[])).toEqual(new Set(ids));
  }, 30_000);

  it('lets a single command in before it is done, and keeps the order of those on the same name', async () => {
    const singleIsDone = Promise.withResolvers<void>();
    let slices = 0;
    const master = await startTestMaster(test, {
      async hold({ name }) {
        if (name !== 'user.add-many') return;
        slices += 1;
        // The last one of the 500.
        if (slices === 4) await singleIsDone.promise;
      },
    });
    const bulk = addMany(
      master,
      master.command('user.add-many', { users: namesFrom('ordered', 500) }),
    );
    const early = await master.mastership
      .handle(master.command('user.add', { username: 'single' }))
      .finally(() => singleIsDone.resolve());
    if (early.kind !== 'done') throw new Error(JSON.stringify(early));
    const results = await bulk;
    expect(results.every((one) => one.status === 201)).toBe(true);
    const last = Math.max(...results.map((one) => ('revision' in one ? one.revision : 0)));
    expect(early.revision).toBeLessThan(last);
    const again = master.command('user.add-many', { users: namesFrom('ordered', 500) });
    const removal = master.command('user.remove', { username: 'ordered-7' });
    const [removed, repeated] = await Promise.all([
      master.mastership.handle(removal),
      addMany(master, again),
    ]);
    expect(removed.kind).toBe('done');
    // The removal came first, so the name is free when the bulk request comes to it.
    expect(repeated.map((one) => one.status).filter((status) => status === 201)).toHaveLength(1);
    expect(repeated[7]).toMatchObject({ status: 201 });
    expect(await findUser(master.db, 'ordered-7')).not.toBeNull();
  }, 30_000);

  it('gives up in time while nothing can be applied, and a repeat settles every user', async () => {
    const master = await startTestMaster(test);
    const stall = await master.stallApplying();
    const command = master.command('user.add-many', { users: namesFrom('slow', 200) }, 3000);
    const open = await addMany(master, command);
    expect(open.every((one) => [503, 504].includes(one.status))).toBe(true);
    expect(open.some((one) => one.status === 504)).toBe(true);
    await stall.release();
    const settled = await addMany(master, { ...command, remainingMs: 8000 });
    expect(settled.every((one) => one.status === 201)).toBe(true);
    expect(await countDocuments(master.db, 'user')).toBe(200);
  }, 30_000);

  it('keeps its names until they are applied, though its event could not be finished', async () => {
    const master = await startTestMaster(test);
    const { sql } = master.db;
    await sql`create function fail() returns trigger language plpgsql as $$begin raise 'no'; end$$`;
    await sql`create trigger fails before update on outbox for each row execute function fail()`;
    const stall = await master.stallApplying();
    const users = [{ username: 'alice' }];
    const bulk = master.mastership.handle(master.command('user.add-many', { users }));
    expect(await bulk).toMatchObject({ kind: 'done', result: { results: [{ status: 504 }] } });
    const add = (remainingMs: number) =>
      master.mastership.handle(master.command('user.add', { username: 'alice' }, remainingMs));
    expect(await add(500)).toMatchObject({ kind: 'refused', code: 'busy' });
    await stall.release();
    expect(await add(8000)).toMatchObject({ kind: 'refused', code: 'username_taken' });
    expect(await countDocuments(master.db, 'user')).toBe(1);
  }, 30_000);

  it('sends nothing when its turn comes after the master began to hand over', async () => {
    const master = await startTestMaster(test);
    const command = master.command('user.add-many', { users: namesFrom('late', 3) });
    let reply: Promise<unknown> | undefined;
    await master.mastership.inTurn(async () => {
      reply = master.mastership.handle(command);
      // It has passed its first look and waits for its turn.
      for (let i = 0; i < 100; i += 1) await new Promise(setImmediate);
      master.mastership.isHandingOver = true;
    });
    expect(await reply).toEqual({ kind: 'handing_over' });
    master.mastership.isHandingOver = false;
    expect(await addMany(master, command)).toMatchObject([{}, {}, {}].map(() => ({ status: 201 })));
  }, 30_000);

  it('is refused as a whole where its proof is worth nothing, or it holds too many', async () => {
    const master = await startTestMaster(test);
    const command = master.command('user.add-many', { users: namesFrom('forged', 2) });
    const forged = { ...command, proof: { ...command.proof, token: 'AAAA' } };
    expect(await addMany(master, forged)).toMatchObject([{ status: 401 }, { status: 401 }]);
    const many = master.command('user.add-many', { users: namesFrom('many', 501) });
    expect(await master.mastership.handle(many)).toMatchObject({ kind: 'refused', status: 400 });
    expect(await countDocuments(master.db, 'user')).toBe(0);
  }, 30_000);
});

describe('the pipeline', () => {
  it('carries many commands at once, each name in its order', async () => {
    const master = await startTestMaster(test);
    const names = Array.from({ length: 60 }, () => randomUUID());
    const replies = await Promise.all(
      names.flatMap((username) => [
        master.mastership.handle(master.command('user.add', { username })),
        master.mastership.handle(
          master.command('user.set', { username, changes: { displayName: 'Second' } }),
        ),
        master.mastership.handle(master.command('user.remove', { username })),
      ]),
    );
    expect(replies.filter((reply) => reply.kind !== 'done')).toEqual([]);
    const revisions = replies.map((reply) => (reply.kind === 'done' ? reply.revision : 0));
    expect(new Set(revisions).size).toBe(revisions.length);
    for (let i = 0; i < revisions.length; i += 3) {
      const own = revisions.slice(i, i + 3);
      expect(own).toEqual(own.toSorted((a, b) => a - b));
    }
    expect(await findUser(master.db, names[0]!)).toBeNull();
  }, 30_000);

  it('breaks when a change from elsewhere takes a position: all commands run once, in the next epoch', async () => {
    const master = await startTestMaster(test);
    const { epoch } = master.mastership.term!;
    const many = { users: namesFrom('b', 500) };
    const bulk = addMany(master, master.command('user.add-many', many, 20_000));
    const singles = namesFrom('s', 60).map((args) =>
      master.mastership.handle(master.command('user.add', args, 20_000)),
    );
    await waitFor('changes in flight', () => master.mastership.pipeline!.inFlight > 1, {
      timeoutMs: 5000,
      everyMs: 1,
    });
    // Like a straggler of another epoch that met the position it expected.
    const stray = {
      epoch: epoch - 1,
      changeId: randomUUID(),
      commandId: null,
      kind: 'probe',
      id: 'stray',
      at: new Date().toISOString(),
      actor: 'stray',
      removed: false,
      document: null,
      commands: [],
    };
    await waitFor(
      'the stray change to land',
      async () => {
        const end = await master.readLogEnd();
        const outcomes = await Promise.all(
          Array.from({ length: 64 }, (_, i) => master.changeLog.append(stray, end + i)),
        );
        return outcomes.some((outcome) => outcome.kind === 'stored');
      },
      { timeoutMs: 10_000, everyMs: 1 },
    );
    const replies = await Promise.all(singles);
    expect(replies.filter((reply) => reply.kind !== 'done')).toEqual([]);
    const results = await bulk;
    expect(results.filter((one) => one.status !== 201)).toEqual([]);
    expect(await countDocuments(master.db, 'user')).toBe(560);
    expect(master.mastership.term!.epoch).toBeGreaterThan(epoch);
    const all = [...replies, ...results].map((one) => ('revision' in one ? one.revision : 0));
    expect(new Set(all).size).toBe(560);
  });
});
