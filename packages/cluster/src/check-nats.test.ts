import { nkeys } from '@nats-io/transport-node';
import { startOperatorsNats, type TestOperatorsNats, waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkNats } from './check-nats.ts';
import { flawOfNats } from './flaw-of-nats.ts';
import { deleteOtherIncarnations, ensureStreams, findOrBeginIncarnation } from './incarnation.ts';
import { ask, readStreamState } from './jetstream.ts';
import { inboxPrefixOf, permissionsOf, type LogRole } from './log-permissions.ts';
import { NatsLink, type Log } from './nats-link.ts';
import { namesOf } from './names.ts';

const silent: Log = { info() {}, warn() {} };
const MIB = 1024 * 1024;
const options = {
  logReplicas: 3,
  limits: { changesBytes: 16 * MIB, statesBytes: 16 * MIB, eventsBytes: 16 * MIB },
};
const closing: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const close of closing.toReversed()) await close();
});

it.each([
  ['2.10.22', true],
  ['2.10.23-RC.1', true],
  ['2.9.99', true],
  ['', true],
  ['2.10.23', false],
  ['2.11.0', false],
  ['3.0.0', false],
])('takes or refuses nats-server %s by what it says of itself', (version, isRefused) => {
  const connection = { info: { version, jetstream: true }, getServer: () => 'nats.example:4222' };
  const flaw = flawOfNats(connection as Parameters<typeof flawOfNats>[0]);
  expect(flaw).toBe(
    isRefused
      ? `nats.urls: nats.example:4222 is nats-server ${version}: 2.10.23 or newer is needed`
      : null,
  );
});

describe("a NATS of the operator's own with keys", () => {
  const keys = { agent: nkeys.createUser(), worker: nkeys.createUser() };
  const user = (role: LogRole, { publish, subscribe } = permissionsOf(role, 'node-1')) =>
    `{ nkey: ${keys[role as 'agent'].getPublicKey()}, permissions: {
      publish: { allow: ${JSON.stringify(publish)} }, subscribe: { allow: ${JSON.stringify(subscribe)} } } }`;
  const account = (...users: string[]) => `OURS { jetstream: enabled, users: [${users.join()}] }`;
  let nats: TestOperatorsNats;

  beforeAll(async () => {
    nats = await startOperatorsNats({
      servers: 1,
      accounts: account(user('agent'), user('worker')),
    });
    closing.push(() => nats.stop());
  }, 30_000);

  function signInOf(role: 'agent' | 'worker', streamsOf = 'ours') {
    return {
      seed: Buffer.from(keys[role].getSeed()).toString(),
      inboxPrefix: inboxPrefixOf('node-1', role),
      tls: { authorityFile: nats.authorityFile! },
      streamsOf,
    };
  }
  const check = (role: 'agent' | 'worker', streamsOf?: string, isNew = false) =>
    checkNats({
      servers: nats.addresses,
      signIn: signInOf(role, streamsOf),
      role,
      node: 'node-1',
      isNew,
    });

  it('is taken where each role may say and hear what it needs and no more', async () => {
    expect(await check('agent')).toBe(true);
    expect(await check('worker')).toBe(true);
  });

  it('is refused by name where something is missing, or workers may write the log', async () => {
    const { publish, subscribe } = permissionsOf('agent', 'node-1');
    const less = publish.filter((subject) => subject !== '$KV.>');
    await nats.reload(
      account(user('agent', { publish: less, subscribe }), user('worker', { publish, subscribe })),
    );
    await expect(check('agent')).rejects.toThrow(
      'nats.urls: the agent of node-1 may not say $KV.>: enter there what "countersign nats-config" prints',
    );
    await expect(check('worker')).rejects.toThrow(
      'nats.urls: the worker of node-1 may not hear _INBOX.node-1.worker.>',
    );
    const worker = permissionsOf('worker', 'node-1');
    const more = { ...worker, publish: [...worker.publish, 'change.>'] };
    const deaf = { publish, subscribe: ['cs.>'] };
    await nats.reload(account(user('agent', deaf), user('worker', more)));
    await expect(check('worker')).rejects.toThrow(
      'nats.urls: the worker of node-1 may say change.0.0, which only agents may',
    );
    await expect(check('agent')).rejects.toThrow('may not hear _INBOX.node-1.agent.>');
    await nats.reload(account(user('worker')));
    await expect(check('agent')).rejects.toThrow(
      /127.0.0.1:\d+ does not let the agent of node-1 in: enter there what/,
    );
    await nats.reload(account(user('agent'), user('worker')).replace('jetstream: enabled, ', ''));
    await expect(check('agent')).rejects.toThrow('JetStream is not enabled for the account');
    await nats.reload(account(user('agent'), user('worker')));
    expect(await check('agent')).toBe(true);
  }, 30_000);

  it('is refused where its certificate is of somebody else', async () => {
    const other = await startOperatorsNats({ servers: 1 });
    closing.push(() => other.stop());
    const signIn = { ...signInOf('agent'), tls: { authorityFile: other.authorityFile! } };
    const about = { signIn, role: 'agent' as const, node: 'node-1' };
    await expect(checkNats({ ...about, servers: nats.addresses })).rejects.toThrow(/certificate/);
  });

  it('is not known while nobody is there', async () => {
    const signIn = signInOf('agent');
    const about = { signIn, role: 'agent' as const, node: 'node-1' };
    expect(await checkNats({ ...about, servers: ['127.0.0.1:9'] })).toBe(false);
  });

  it('keeps one cluster: streams of another are refused by name, and nothing is done to them', async () => {
    const link = (role: 'agent' | 'worker', streamsOf: string) => {
      const signIn = signInOf(role, streamsOf);
      const made = new NatsLink({ ...signIn, servers: nats.addresses, name: 't', log: silent });
      closing.push(() => made.close());
      return made;
    };
    const [ours, theirs, worker] = [
      link('agent', 'ours'),
      link('agent', 'theirs'),
      link('worker', 'theirs'),
    ];
    // There is one server, so there is one copy, whatever was asked for.
    const begin = async () => {
      await findOrBeginIncarnation(ours, options);
      await ensureStreams(ours, namesOf(1), options);
      return true;
    };
    await waitFor('the streams', begin, { timeoutMs: 10_000 });
    expect(await readStreamState(ours, namesOf(1).changes, 8000)).toMatchObject({ replicas: 1 });
    const refusal =
      'nats.urls: the stream KV_CLUSTER there belongs to the cluster ours, and this is the cluster theirs';
    await expect(check('agent', 'theirs')).rejects.toThrow(refusal);
    await expect(check('agent', 'ours', true)).rejects.toThrow('is there already');
    expect(await check('agent', 'ours')).toBe(true);
    for (const each of [theirs, worker]) {
      const request = each.request('$KV.STATES.1.alice', 'x', { timeoutMs: 8000 });
      await expect(request).rejects.toThrow(refusal);
      expect(each.flaw).toContain(refusal);
    }
    await expect(findOrBeginIncarnation(theirs, options)).rejects.toThrow(refusal);
    expect(await readStreamState(theirs, namesOf(1).changes, 8000)).toBe(null);
    expect(ours.flaw).toBe(null);
  });

  it('may hold other streams, which are left alone', async () => {
    const signIn = signInOf('agent');
    await using own = new NatsLink({
      ...signIn,
      servers: nats.addresses,
      name: 't',
      log: silent,
    });
    const foreign = {
      name: 'ORDERS-1',
      subjects: ['orders.>'],
      storage: 'memory',
      max_bytes: 1024,
    };
    expect((await ask(own, 'STREAM.CREATE.ORDERS-1', foreign, 8000)).error).toBeUndefined();
    await deleteOtherIncarnations(own, 2);
    const isGone = async () => (await readStreamState(own, namesOf(1).changes, 8000)) === null;
    await waitFor('the old incarnation to be gone', isGone, { timeoutMs: 15_000 });
    expect((await ask(own, 'STREAM.INFO.ORDERS-1', {}, 8000)).config).toBeDefined();
  });
});

it('is refused without JetStream', async () => {
  const nats = await startOperatorsNats({ servers: 1, isTls: false, hasJetStream: false });
  closing.push(() => nats.stop());
  const signIn = { user: '', password: '', streamsOf: 'open' };
  const about = { signIn, role: 'agent' as const, node: 'node-1' };
  await expect(checkNats({ ...about, servers: nats.addresses })).rejects.toThrow(
    /runs without JetStream/,
  );
});
