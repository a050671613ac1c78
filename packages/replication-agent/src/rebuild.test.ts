import { randomUUID } from 'node:crypto';
import {
  beginIncarnation,
  ChangeLog,
  ensureStreams,
  findIncarnation,
  giveUpUnsealed,
  Membership,
  namesOf,
  nextIncarnation,
  RebuildError,
  RebuildLog,
  UserStates,
  type Incarnation,
  type NatsLink,
  type OldChange,
  type Sealer,
} from '@countersign/cluster';
import {
  findCommandResult,
  findSeal,
  findUser,
  listUserStates,
  readApplied,
  readNextApplied,
  storeUserStates,
  type Applied,
  type Database,
} from '@countersign/database';
import { sealerOf } from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import { emptyState, encodeState, parseState, type UserState } from '@countersign/verification';
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import { rebuild, type RebuildOptions } from './rebuild.ts';
import { RebuildWatch } from './rebuild-watch.ts';
import { Replica } from './replica.ts';
import { limits, silent, useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const AT = '2026-03-01T12:00:00.000Z';
const commandId = '0190c0de-0000-7000-8000-00000000c0de';

type Setting = Awaited<ReturnType<typeof start>>;

/** Two replicas of one log: five users, a removed one, a user with a command's result. */
async function start() {
  const link = test.connect();
  const incarnation = await test.beginIncarnation(link);
  const found = await findIncarnation(link, { logReplicas: 1 });
  expect(await beginIncarnation(link, incarnation, found?.sequence ?? 0)).toBe(true);
  const sealer = sealerOf(test.makeKeys().document);
  const log = new ChangeLog(link, incarnation, sealer);
  const names = ['alice', 'bob', 'carol', 'dave', 'erin'];
  const users = names.map((username) => userDocument(username));
  const gone = userDocument('gone');
  const changes = [
    ...[...users, gone].map((document) => ({ id: document.id, removed: false, document })),
    { id: gone.id, removed: true, document: null },
  ];
  for (const [index, change] of changes.entries()) {
    const outcome = await log.append(
      { ...envelope(), ...change, epoch: 1, commands: index === 0 ? [resultOf(users[0]!.id)] : [] },
      index,
    );
    expect(outcome.kind).toBe('stored');
  }
  const [source, other] = [await test.openDatabase(), await test.openDatabase()];
  for (const db of [source, other]) {
    const following = await follow({ db, link, incarnation, sealer });
    expect(await following.replica.waitFor(changes.length, 8000)).toBe(true);
    await following.stop();
  }
  return { link, incarnation, sealer, source, other, users };
}

function userDocument(username: string) {
  return {
    id: randomUUID(),
    username,
    enabled: true,
    blocked: null,
    unlockedAt: null,
    authenticators: [],
    createdAt: AT,
    updatedAt: AT,
  };
}

function envelope() {
  return { changeId: uuidv7(), commandId: null, kind: 'user', at: AT, actor: 'test' };
}

function resultOf(id: string) {
  return { commandId, contentHash: 'hash', at: new Date().toISOString(), result: { id } };
}

async function follow(about: {
  db: Database;
  link: NatsLink;
  incarnation: Incarnation;
  sealer: Sealer;
}) {
  const replica = await Replica.open({
    ...about,
    onApplied: () => undefined,
    onDiverged: async () => undefined,
    log: silent,
  });
  const stop = new AbortController();
  const following = replica.follow(stop.signal);
  const end = () => {
    stop.abort();
    return following;
  };
  test.atEnd(end);
  return { replica, stop: end };
}

async function untilLive(replica: Replica): Promise<Applied> {
  await waitFor('the new tables in use', () => replica.mode === 'live', { timeoutMs: 8000 });
  return replica.applied;
}

async function rebuildFrom(
  db: Database,
  setting: Setting,
  more: Partial<RebuildOptions> = {},
): Promise<Incarnation> {
  return rebuild((await readApplied(db))!, { ...optionsOf(db, setting), ...more });
}

function optionsOf(db: Database, { link, sealer }: Setting): RebuildOptions {
  return {
    db,
    link,
    sealer,
    node: 'node-1',
    logReplicas: 1,
    limits,
    highestNumber: 0,
    disasterAt: null,
    log: silent,
    signal: new AbortController().signal,
  };
}

/** The number is taken and the streams stand, as a rebuild begins. */
async function beginByHand({ link, source }: Setting): Promise<Incarnation> {
  const found = await findIncarnation(link, { logReplicas: 1 });
  const left = (await readApplied(source))!;
  const incarnation = nextIncarnation({
    parent: left.incarnation,
    left,
    highestNumber: found?.incarnation.number ?? 0,
    by: 'node-1',
    disasterAt: null,
  });
  expect(await beginIncarnation(link, incarnation, found?.sequence ?? 0)).toBe(true);
  await ensureStreams(link, namesOf(incarnation.number), { logReplicas: 1, limits });
  return incarnation;
}

function oldChange(document: { id: string }): OldChange {
  return { ...envelope(), id: document.id, removed: false, document, commands: [] };
}

const sealedBy = { changeId: uuidv7(), at: AT, actor: 'test' };

function stateWith(step: number, failures = 0): UserState {
  const code = { ...emptyState().methods.code, failures };
  return { ...emptyState(), accepted: { 'a-1': [step, step * 30] }, methods: { code } };
}

describe('a rebuild', () => {
  it('carries documents, command results and user states, and leaves removals behind', async () => {
    const setting = await start();
    const { source, other, link, sealer, users } = setting;
    const [alice, bob] = [users[0]!, users[1]!];
    const states = [
      { userId: alice.id, revision: 3, state: stateWith(100) },
      { userId: bob.id, revision: 4, state: stateWith(7, 3) },
    ];
    await storeUserStates(source, states, 4);
    const before = (await readApplied(source))!;
    const incarnation = await rebuildFrom(source, setting);

    expect(incarnation).toMatchObject({
      parent: before.incarnation.id,
      baseRevision: before.revision,
      by: 'node-1',
    });
    const found = await findIncarnation(link, { logReplicas: 1 });
    expect(found?.incarnation).toEqual(incarnation);
    const filled = [];
    for (const db of [other, source]) {
      const { replica } = await follow({ db, link, incarnation, sealer });
      filled.push(await untilLive(replica));
    }
    expect(filled[0]!.digest).toBe(filled[1]!.digest);
    expect(filled[0]!.revision).toBe(before.revision + 6);
    expect(await findSeal(other)).toBe(before.revision + 6);
    for (const { username, id } of users) {
      expect(await findUser(other, username)).toMatchObject({ document: { id } });
    }
    expect(await findUser(other, 'gone')).toBeNull();
    expect(await other.sql`select from documents where removed`).toHaveLength(0);
    expect(await findCommandResult(other, commandId)).toMatchObject({ result: { id: alice.id } });
    const bucket = new UserStates(link, incarnation.number);
    for (const { userId, state } of states) {
      const read = await bucket.readThroughLeader(userId, 10_000);
      expect(read.kind === 'found' && parseState(read.bytes)).toEqual(state);
    }
  });

  it('loses against another that took the number first', async () => {
    const setting = await start();
    const { source, other, link } = setting;
    await findIncarnation(link, { logReplicas: 1 });
    const [left, right] = [(await readApplied(source))!, (await readApplied(other))!];
    // In the same tick: one that looks for the number when the other has it takes the next one.
    const runs = await Promise.allSettled([
      rebuild(left, optionsOf(source, setting)),
      rebuild(right, optionsOf(other, setting)),
    ]);
    expect(runs.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const lost = runs.find((run) => run.status === 'rejected')!;
    expect(lost.reason).toBeInstanceOf(RebuildError);
  });

  it('fails where somebody else fills the same log', async () => {
    const setting = await start();
    const incarnation = await beginByHand(setting);
    const [first, second] = [1, 2].map(
      () => new RebuildLog(setting.link, incarnation, setting.sealer),
    ) as [RebuildLog, RebuildLog];
    await first.publish(oldChange(setting.users[0]!));
    await first.seal({ count: 1, digest: '' }, sealedBy);
    await second.publish(oldChange(setting.users[1]!));
    const sealed = second.seal({ count: 1, digest: '' }, sealedBy);
    await expect(sealed).rejects.toThrow(/another rebuild was first/);
  });

  it('carries what a node wrote into the old bucket that had not heard of it, and lets it write no more', async () => {
    const setting = await start();
    const { source, link, users, incarnation } = setting;
    const [alice, bob] = [users[0]!, users[1]!];
    const old = new UserStates(link, incarnation.number);
    const known = await old.write(alice.id, encodeState(stateWith(100)), 0, 10_000);
    if (known.kind !== 'written') throw new Error(known.kind);
    const row = { userId: alice.id, revision: known.revision, state: stateWith(100) };
    await storeUserStates(source, [row], known.revision);
    // Neither was copied here yet.
    const late = await old.write(alice.id, encodeState(stateWith(101)), known.revision, 10_000);
    if (late.kind !== 'written') throw new Error(late.kind);
    await old.write(bob.id, encodeState(stateWith(7)), 0, 10_000);
    const { number } = await rebuildFrom(source, setting);
    const bucket = new UserStates(link, number);
    for (const [userId, step] of [[alice.id, 101] as const, [bob.id, 7] as const]) {
      const read = await bucket.readThroughLeader(userId, 10_000);
      if (read.kind !== 'found') throw new Error(read.kind);
      expect(parseState(read.bytes).accepted['a-1']?.[0]).toBe(step);
    }
    const refused = await old.write(alice.id, encodeState(stateWith(102)), late.revision, 10_000);
    expect(refused.kind).toBe('silent');
  });

  it('keeps what workers wrote into the new bucket meanwhile', async () => {
    const setting = await start();
    const { source, link, users } = setting;
    const userId = users[0]!.id;
    await storeUserStates(source, [{ userId, revision: 3, state: stateWith(100, 2) }], 3);
    const number = (await findIncarnation(link, { logReplicas: 1 }))!.incarnation.number + 1;
    const next = Math.max(number, setting.incarnation.number + 1);
    await ensureStreams(link, namesOf(next), { logReplicas: 1, limits });
    const bucket = new UserStates(link, next);
    const written = await bucket.write(userId, encodeState(stateWith(101)), 0, 10_000);
    expect(written.kind).toBe('written');
    expect((await rebuildFrom(source, setting)).number).toBe(next);
    const read = await bucket.readThroughLeader(userId, 10_000);
    if (read.kind !== 'found') throw new Error(read.kind);
    expect(parseState(read.bytes)).toMatchObject(stateWith(101, 2));
  });
});

describe('a rebuild that stopped', () => {
  const documents = 5;
  it.each([
    { where: 'after the first document', stopsAt: (sealing: number) => sealing === 2, mostly: 1 },
    { where: 'in the middle', stopsAt: (sealing: number) => sealing === 4, mostly: 3 },
    {
      where: 'before the user states',
      stopsAt: (sealing: number) => sealing === documents,
      abortsOnly: true,
      mostly: documents,
    },
    {
      where: 'before the seal',
      stopsAt: (_: number, context: string) => context.startsWith('change|seal|'),
      mostly: documents,
    },
  ])(
    'leaves the old tables in use, and a second run is what counts: $where',
    async ({ stopsAt, mostly, abortsOnly }) => {
      const setting = await start();
      const { source, other, link, sealer } = setting;
      const [before, place] = [(await readApplied(source))!, (await readApplied(other))!];
      const dying = test.connect();
      const stop = new AbortController();
      let sealings = 0;
      const stopping: Sealer = {
        open: (bytes, context) => sealer.open(bytes, context),
        seal(bytes, context) {
          sealings += 1;
          if (stopsAt(sealings, context)) {
            stop.abort();
            if (!abortsOnly) void dying.close();
          }
          return sealer.seal(bytes, context);
        },
      };
      const options = { link: dying, sealer: stopping, signal: stop.signal };
      await expect(rebuildFrom(source, setting, options)).rejects.toThrow();
      const { incarnation: unfinished } = (await findIncarnation(link, { logReplicas: 1 }))!;
      expect(unfinished.ancestors.at(-1)?.id).toBe(before.incarnation.id);

      const first = await follow({ db: other, link, incarnation: unfinished, sealer });
      // What was sent last may still be on its way.
      let standsAt = 0;
      const isFilled = async () => {
        standsAt = await lastRevision(setting, unfinished);
        return first.replica.filling?.revision === standsAt;
      };
      await waitFor('what there is', isFilled, { timeoutMs: 8000 });
      await first.stop();
      expect(standsAt - before.revision).toBeLessThanOrEqual(mostly);
      expect(first.replica.mode).toBe('next');
      expect(await readApplied(other)).toEqual(place);
      expect(await findUser(other, 'alice')).toMatchObject({ document: { username: 'alice' } });

      const finished = await rebuildFrom(source, setting);
      expect(finished.number).toBe(unfinished.number + 1);
      expect(finished.ancestors.map(({ id }) => id)).not.toContain(unfinished.id);
      const second = await follow({ db: other, link, incarnation: finished, sealer });
      const applied = await untilLive(second.replica);
      expect(applied.incarnation).toEqual(finished);
      expect(applied.revision).toBe(before.revision + documents + 1);
    },
  );

  it('with nothing but its number taken gives way to a second run', async () => {
    const setting = await start();
    const { source, link, sealer } = setting;
    const left = (await readApplied(source))!;
    const found = await findIncarnation(link, { logReplicas: 1 });
    const unfinished = nextIncarnation({
      parent: left.incarnation,
      left,
      highestNumber: found?.incarnation.number ?? 0,
      by: 'node-2',
      disasterAt: null,
    });
    await beginIncarnation(link, unfinished, found?.sequence ?? 0);
    const finished = await rebuildFrom(source, setting);
    expect(finished.number).toBe(unfinished.number + 1);
    const { replica } = await follow({ db: source, link, incarnation: finished, sealer });
    expect((await untilLive(replica)).incarnation.id).toBe(finished.id);
  });
});

describe('a rebuild whose node was suspended', () => {
  const seal = { count: 5, digest: 'whatever' };

  /** All documents stand, sent by a node that is not heard any more; another follows them. */
  async function startUnsealed() {
    const setting = await start();
    const { other, link, sealer, users } = setting;
    const incarnation = await beginByHand(setting);
    const late = new RebuildLog(link, incarnation, sealer);
    for (const user of users) await late.publish(oldChange(user));
    const follower = await follow({ db: other, link, incarnation, sealer });
    const { replica } = follower;
    const end = incarnation.baseRevision + users.length;
    const hasRead = () => replica.filling?.revision === end;
    await waitFor('all documents', hasRead, { timeoutMs: 8000 });
    return { setting, incarnation, late, follower };
  }

  it('is given up before the next number is taken: its seal is refused, and nobody lives in it', async () => {
    const { setting, incarnation, late, follower } = await startUnsealed();
    const { other, link, sealer, source } = setting;
    const place = await readApplied(other);
    const options = { logReplicas: 1, limits };
    await giveUpUnsealed(link, incarnation, options);
    // By somebody who heard no answer, or another node.
    await giveUpUnsealed(link, incarnation, options);
    await expect(late.seal(seal, sealedBy)).rejects.toThrow(/another rebuild was first/);
    const isTold = () => follower.replica.problem?.includes('was given up');
    await waitFor('the follower to see it', isTold, { timeoutMs: 8000 });
    await follower.stop();
    expect(await readApplied(other)).toEqual(place);

    const finished = await rebuildFrom(source, setting);
    expect(finished.number).toBe(incarnation.number + 1);
    const second = await follow({ db: other, link, incarnation: finished, sealer });
    expect((await untilLive(second.replica)).incarnation).toEqual(finished);
  });

  it('is what counts where its seal came first, and who wanted to replace it takes no number', async () => {
    const { setting, incarnation, late, follower } = await startUnsealed();
    const { link, source } = setting;
    await follower.stop();
    await late.seal(seal, sealedBy);
    const replaced = rebuildFrom(source, setting);
    await expect(replaced).rejects.toThrow(/was finished meanwhile/);
    await expect(replaced).rejects.toThrow(RebuildError);
    const found = await findIncarnation(link, { logReplicas: 1 });
    expect(found?.incarnation.id).toBe(incarnation.id);
  });

  it('before it had written anything finds its log taken when it goes on', async () => {
    const setting = await start();
    const { link, sealer, users } = setting;
    const incarnation = await beginByHand(setting);
    await deleteStream(link, namesOf(incarnation.number).changes);
    await giveUpUnsealed(link, incarnation, { logReplicas: 1, limits });
    await ensureStreams(link, namesOf(incarnation.number), { logReplicas: 1, limits });
    const late = new RebuildLog(link, incarnation, sealer);
    await late.publish(oldChange(users[0]!));
    const sealed = late.seal({ count: 1, digest: '' }, sealedBy);
    await expect(sealed).rejects.toThrow(/another rebuild was first/);
  });

  it('and makes its log once more after it was replaced and deleted gets no followers', async () => {
    const { setting, incarnation, follower } = await startUnsealed();
    const { other, link, sealer, source, users } = setting;
    const place = await readApplied(other);
    await follower.stop();
    const finished = await rebuildFrom(source, setting);
    await ensureStreams(link, namesOf(incarnation.number), { logReplicas: 1, limits });
    const late = new RebuildLog(link, incarnation, sealer);
    for (const user of users) await late.publish(oldChange(user));
    await late.seal(seal, sealedBy);
    const sleeping = await follow({ db: other, link, incarnation, sealer });
    const end = await lastRevision(setting, incarnation);
    const hasRead = async () => (await readNextApplied(other))?.revision === end;
    await waitFor('its seal to be read', hasRead, { timeoutMs: 8000 });
    await sleeping.stop();
    expect(sleeping.replica.mode).toBe('next');
    expect(await readApplied(other)).toEqual(place);
    const awake = await follow({ db: other, link, incarnation: finished, sealer });
    expect((await untilLive(awake.replica)).incarnation).toEqual(finished);
  });
});

describe('the node that has rebuilt the log', () => {
  it('begins again only where the seal is missing, not where the log is silent', async () => {
    const setting = await start();
    const { source, link, sealer } = setting;
    const look = async (incarnation: Incarnation) => {
      const { replica, stop } = await follow({ db: source, link, incarnation, sealer });
      await stop();
      const layout = { tag: '1', servers: [], by: null, disasterAt: null };
      const membership = new Membership(link);
      const about = { node: 'node-1', layout, link, incarnation, replica, membership };
      return new RebuildWatch({ ...about, knownNodes: [] }).look();
    };
    expect(await look(await beginByHand(setting))).toBe('rebuild');
    const finished = await rebuildFrom(source, setting);
    await deleteStream(link, namesOf(finished.number).changes);
    await expect(look(finished)).rejects.toThrow(/stream not found/);
  });
});

describe('a follower of a rebuild', () => {
  it('swaps only at the seal, and goes on where an earlier process was interrupted', async () => {
    const setting = await start();
    const { other, link, sealer, users } = setting;
    const incarnation = await beginByHand(setting);
    const log = new RebuildLog(link, incarnation, sealer);
    const place = await readApplied(other);
    const base = incarnation.baseRevision;
    for (const user of users.slice(0, 3)) await log.publish(oldChange(user));
    const first = await follow({ db: other, link, incarnation, sealer });
    await waitFor('three documents', () => first.replica.filling?.revision === base + 3, {
      timeoutMs: 8000,
    });
    await first.stop();

    const second = await follow({ db: other, link, incarnation, sealer });
    for (const user of users.slice(3)) await log.publish(oldChange(user));
    await waitFor('five documents', () => second.replica.filling?.revision === base + 5, {
      timeoutMs: 8000,
    });
    expect(second.replica.mode).toBe('next');
    expect(await readApplied(other)).toEqual(place);
    await log.seal({ count: 5, digest: 'not known to who joins in the middle' }, sealedBy);
    const resumed = await untilLive(second.replica);
    expect(resumed.revision).toBe(base + 6);
    expect(await other.sql`select from users`).toHaveLength(5);
  });

  it('puts the tables in place that an earlier process had filled to the end', async () => {
    const setting = await start();
    const { other, link, sealer } = setting;
    const incarnation = await rebuildFrom(setting.source, setting);
    const end = await lastRevision(setting, incarnation);
    const dying = test.openAgain(other);
    const reading = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const reader = other.transaction(async (tx) => {
      await tx`select from users`;
      reading.resolve();
      await released.promise;
    });
    await reading.promise;
    const first = await follow({ db: dying, link, incarnation, sealer });
    await waitFor('all documents', async () => (await readNextApplied(other))?.revision === end, {
      timeoutMs: 8000,
    });
    const stopped = first.stop();
    await dying.close();
    await stopped;
    released.resolve();
    await reader;
    expect((await readApplied(other))?.incarnation.id).toBe(setting.incarnation.id);
    const second = await follow({ db: other, link, incarnation, sealer });
    expect((await untilLive(second.replica)).revision).toBe(end);
  });

  it.each([
    { what: 'digest', tamper: (count: number) => ({ count, digest: 'ab'.repeat(32) }) },
    { what: 'count', tamper: (count: number) => ({ count: count + 1, digest: '' }) },
  ])('refuses a seal that is not about what it has filled, and says so: $what', async (about) => {
    const setting = await start();
    const { other, link, sealer, users } = setting;
    const incarnation = await beginByHand(setting);
    const log = new RebuildLog(link, incarnation, sealer);
    const place = await readApplied(other);
    for (const user of users) await log.publish(oldChange(user));
    await log.seal(about.tamper(users.length), sealedBy);
    const { replica, stop } = await follow({ db: other, link, incarnation, sealer });
    await waitFor('the refusal', () => replica.problem, { timeoutMs: 8000 });
    expect(replica.problem).toMatch(/is not what its rebuild has sealed: 5 documents/);
    await stop();
    expect(replica.mode).toBe('next');
    expect(await readApplied(other)).toEqual(place);
  });

  it('forgets where it was in the old bucket and keeps what it knew of its users', async () => {
    const setting = await start();
    const { other, link, sealer, users } = setting;
    const userId = users[0]!.id;
    await storeUserStates(other, [{ userId, revision: 900, state: stateWith(5) }], 900);
    const incarnation = await rebuildFrom(setting.source, setting);
    const { replica } = await follow({ db: other, link, incarnation, sealer });
    await untilLive(replica);
    const known = await listUserStates(other, { after: null, limit: 10 });
    expect(known).toEqual([{ userId, state: stateWith(5) }]);
    expect(await other.sql`select from positions`).toHaveLength(0);
  });
});

async function deleteStream(link: NatsLink, name: string): Promise<void> {
  await link.request(`$JS.API.STREAM.DELETE.${name}`, '', { timeoutMs: 10_000 });
}

async function lastRevision({ link }: Setting, incarnation: Incarnation): Promise<number> {
  const reply = await link.request(
    `$JS.API.STREAM.INFO.${namesOf(incarnation.number).changes}`,
    '',
    { timeoutMs: 10_000 },
  );
  const { state } = reply.json<{ state: { last_seq: number } }>();
  return state.last_seq + incarnation.baseRevision;
}
