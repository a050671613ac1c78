import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { startTestNats, waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { askAgent, serveAgentRequests } from './agent-requests.ts';
import { Asks } from './asks.ts';
import { sendCommand, serveCommands } from './commands.ts';
import { ensureStreams, findOrBeginIncarnation } from './incarnation.ts';
import { ask, publish, readStreamState } from './jetstream.ts';
import { signInOptions } from './log-sign-in.ts';
import { Membership, type Heartbeat } from './membership.ts';
import { INCARNATION_KEY, INCARNATION_STREAM, namesOf } from './names.ts';
import { NatsLink, type Log, type Sealer } from './nats-link.ts';
import { ParkedEntries } from './parked-entries.ts';
import { StopFacts } from './stop-facts.ts';
import { makeMembers, makeSigner, type TestSigner } from './testing/secured-log.ts';
import { UserStates } from './user-states.ts';
import { hearWitnesses, tellWitness, WitnessLine, type WitnessBeat } from './witness-line.ts';

const silent: Log = { info() {}, warn() {} };
const MIB = 1024 * 1024;
const WAIT_MS = 10_000;
const limits = { changesBytes: 8 * MIB, statesBytes: 8 * MIB, eventsBytes: 8 * MIB };
const unsealed: Sealer = { seal: (plain) => plain, open: (sealed) => sealed };

describe('at a secured log server', () => {
  const names = namesOf(1);
  const closing: (() => Promise<unknown>)[] = [];
  let servers: string[];
  let agent: TestSigner;
  let workers: [TestSigner, TestSigner];
  let witness: TestSigner;
  let supervisor: TestSigner;

  function link(signer: TestSigner): NatsLink {
    const made = new NatsLink({ ...signer.signIn, servers, name: 'test', log: silent });
    closing.push(() => made.close());
    return made;
  }

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-secured-'));
    closing.push(() => rm(folder, { recursive: true }));
    const files = await makeMembers(folder, ['node-1', 'node-2', 'witness']);
    agent = makeSigner('node-1', 'agent', files['node-1']);
    workers = [
      makeSigner('node-1', 'worker', files['node-1']),
      makeSigner('node-2', 'worker', files['node-2']),
    ];
    supervisor = makeSigner('node-1', 'supervisor', files['node-1']);
    witness = makeSigner('witness', 'witness', files.witness);
    const users = [agent, ...workers, witness, supervisor].map(({ user }) => user);
    const nats = await startTestNats({
      servers: 1,
      access: () => ({ ...files['node-1'], users, routeKeys: [] }),
    });
    closing.push(() => nats.stop());
    servers = nats.urls.map((url) => url.replace('nats://', ''));
    const options = { logReplicas: 1, limits };
    const create = async () => {
      await findOrBeginIncarnation(link(agent), options);
      await ensureStreams(link(agent), names, options);
      return true;
    };
    await waitFor('the streams', create, { timeoutMs: 15_000 });
  }, 60_000);

  afterAll(async () => {
    for (const close of closing.toReversed()) await close();
  });

  /** Resolves with the subjects refused to this connection, once the server has dealt with all that was sent. */
  async function refusalsOf(
    signer: TestSigner,
    use: (connection: NatsConnection) => void,
  ): Promise<string[]> {
    const options = { ...signInOptions(signer.signIn), servers, reconnect: false };
    const connection = await connect({ ...options, timeout: WAIT_MS });
    const refused: string[] = [];
    const listening = (async () => {
      for await (const status of connection.status()) {
        if (status.type === 'error') refused.push(status.error.message);
      }
    })();
    try {
      use(connection);
      await connection.flush();
    } finally {
      await connection.close();
    }
    await listening;
    return refused;
  }

  const FORBIDDEN_TO_ALL_BUT_AGENTS = [
    names.change('user', 'mallory'),
    'change.2.epoch.9',
    names.event('node-1'),
    names.leaseKey,
    '$KV.LEASE.2.master',
    INCARNATION_KEY,
    `$JS.API.STREAM.CREATE.EXTRA`,
    `$JS.API.STREAM.UPDATE.${names.changes}`,
    `$JS.API.STREAM.DELETE.${names.changes}`,
    `$JS.API.STREAM.PURGE.${names.states}`,
    `$JS.API.STREAM.MSG.DELETE.${names.changes}`,
    `$JS.API.STREAM.LEADER.STEPDOWN.${names.lease}`,
    `$JS.API.STREAM.SNAPSHOT.${names.changes}`,
    `$JS.API.STREAM.RESTORE.${names.changes}`,
    `$JS.API.CONSUMER.CREATE.${names.changes}`,
    'cs.heartbeat.node-1',
    'cs.agent.node-1.claim',
    'cs.agent.node-1.move',
    '_INBOX.node-1.agent.forged.1',
    '$SYS.REQ.SERVER.PING',
  ];

  it.each(FORBIDDEN_TO_ALL_BUT_AGENTS)(
    'a worker, a witness and a supervisor cannot say %s',
    async (subject) => {
      for (const signer of [workers[0], witness, supervisor]) {
        const refused = await refusalsOf(signer, (connection) => connection.publish(subject, '{}'));
        expect(refused).toEqual([expect.stringContaining(`Publish to "${subject}"`)]);
      }
    },
  );

  it('a witness cannot touch or read user states, stop facts or what is parked', async () => {
    const subjects = [
      ...[names.state('alice'), names.stopFact('a'), names.parkedEntry('a'), 'cs.ask'],
      ...[`$JS.API.STREAM.MSG.GET.${names.states}`, `$JS.API.DIRECT.GET.${names.states}.a`],
      ...[`$JS.API.STREAM.INFO.${names.changes}`, `$JS.API.STREAM.MSG.GET.${INCARNATION_STREAM}`],
      ...['cs.command.a', 'cs.hello', 'cs.stop-facts', '_INBOX.witness.witness.told'],
    ];
    const refused = await refusalsOf(witness, (connection) => {
      for (const subject of subjects) connection.publish(subject, 'x');
    });
    expect(refused).toHaveLength(subjects.length);
  });

  it.each([
    ['the answers to agents', '_INBOX.node-1.agent.>'],
    ['the answers to another node', '_INBOX.node-2.worker.>'],
    ['everything', '>'],
    ['commands', 'cs.command.*'],
    ['the change log', 'change.>'],
  ])('a worker cannot listen to %s', async (_, subject) => {
    const refused = await refusalsOf(workers[0], (connection) => {
      connection.subscribe(subject, { callback: () => undefined });
    });
    expect(refused).toEqual([expect.stringContaining(`Subscription to "${subject}"`)]);
  });

  it('a worker cannot take the questions to another node, nor say that node is alive', async () => {
    const refused = await refusalsOf(workers[0], (connection) => {
      connection.subscribe('cs.ask', { queue: 'node-2', callback: () => undefined });
      connection.subscribe('cs.ask', { callback: () => undefined });
      connection.publish('cs.alive.node-2', '0');
    });
    expect(refused).toHaveLength(3);
  });

  it('a worker keeps user states, stop facts and parked entries', async () => {
    const own = link(workers[0]);
    const states = new UserStates(own, 1);
    await own.waitUntilUp(WAIT_MS);
    const written = await states.write('alice', Buffer.from('state'), 0, WAIT_MS);
    expect(written.kind).toBe('written');
    expect((await states.write('alice', Buffer.from('late'), 0, WAIT_MS)).kind).toBe('conflict');
    expect((await states.readThroughLeader('alice', WAIT_MS)).kind).toBe('found');
    expect((await states.readDirect('alice', WAIT_MS)).kind).toBe('found');
    expect(await states.probe('node-1-0', WAIT_MS)).toBe(true);
    expect(await readStreamState(own, names.changes, WAIT_MS)).toMatchObject({ lastSequence: 0 });

    const parked = new ParkedEntries(own, 1);
    expect(await parked.write('entry', Buffer.from('sealed'), WAIT_MS)).toBe(true);
    expect((await parked.read('entry', WAIT_MS)).kind).toBe('found');

    const parse = (value: unknown) => value as { id: string };
    const about = { incarnationNumber: 1, sealer: unsealed, parse };
    const stopFacts = new StopFacts({ ...about, link: own });
    expect(await stopFacts.store({ id: 'fact' }, WAIT_MS)).toBe(true);
    const peer = link(workers[1]);
    const heard: string[] = [];
    new StopFacts({ ...about, link: peer }).listen('node-2', {
      onFacts: async (facts) => void heard.push(...facts.map(({ id }) => id)),
      onMalformed: () => undefined,
      log: silent,
    });
    await peer.waitUntilUp(WAIT_MS);
    const isHeard = () => {
      stopFacts.tell('node-1', [{ id: 'fact' }]);
      return heard.includes('fact');
    };
    await waitFor('the fact', isHeard, { timeoutMs: WAIT_MS });
  });

  it('workers of two nodes ask each other', async () => {
    const asks = workers.map(
      (worker, index) =>
        new Asks({
          links: [link(worker)],
          node: `node-${index + 1}`,
          sealer: unsealed,
          answer: async () => ({ isGranted: true, state: null }),
          onSettled: async () => undefined,
        }),
    );
    closing.push(...asks.map((each) => () => each[Symbol.asyncDispose]()));
    const isAlive = () => asks[0]!.liveNodes().includes('node-2');
    await waitFor('the other node', isAlive, { timeoutMs: WAIT_MS });
    const ask = { userId: 'u', item: 'i', attemptId: 'a' };
    // Nobody waits longer than 150 ms for an answer, which a pause of this machine may take.
    const answered = async () => {
      const answers = await asks[0]!.broadcast(ask);
      return answers.length > 0 ? answers : null;
    };
    const answers = await waitFor('an answer', answered, { timeoutMs: WAIT_MS });
    expect(answers).toMatchObject([{ node: 'node-2', isGranted: true }]);
  });

  it('a worker sends commands to an agent that it hears, and gets its answers', async () => {
    const own = link(workers[0]);
    const master = link(agent);
    const membership = new Membership(own);
    serveCommands({
      link: master,
      sealer: unsealed,
      instance: 'instance',
      handle: async () => ({ kind: 'done', revision: 7, result: {} }),
    });
    serveAgentRequests({
      link: master,
      sealer: unsealed,
      node: 'node-1',
      handle: async (verb) => ({ ok: true, result: verb }),
    });
    await master.waitUntilUp(WAIT_MS);
    const heartbeats = new Membership(master);
    const isMasterHeard = () => {
      heartbeats.send({ ...HEARTBEAT, wallMs: Date.now() });
      return membership.master() !== null;
    };
    await waitFor('the heartbeat', isMasterHeard, { timeoutMs: WAIT_MS });
    const command = { commandId: 'c', contentHash: '', name: 'n', args: {}, actor: 'a', proof: {} };
    expect(
      await sendCommand({ link: own, membership, sealer: unsealed }, command, WAIT_MS),
    ).toEqual({
      kind: 'done',
      revision: 7,
      result: {},
    });
    const path = { link: own, sealer: unsealed };
    expect(await askAgent(path, 'node-1', 'examine', {}, WAIT_MS)).toEqual({
      ok: true,
      result: 'examine',
    });
  });

  it('a witness says under its own name where it is, and only agents tell it anything', async () => {
    const beat: WitnessBeat = {
      ...{ name: 'witness', version: '1', nonce: 'n', tag: '1', runsLogServer: false },
      logServer: { name: 'witness', host: '127.0.0.1', clientPort: 1, routePort: 2 },
      ...{ storeMark: 0, membersSignature: '', certificateSerial: 'a', problems: [] },
      ...{ certificateExpiresAt: '2026-03-01T00:00:00Z', certificateRequest: null },
    };
    const heard: string[] = [];
    const told: Record<string, unknown>[] = [];
    const agents = link(agent);
    await agents.waitUntilUp(WAIT_MS);
    hearWitnesses(agents, (name) => heard.push(name));
    const [host, clientPort] = servers[0]!.split(':') as [string, string];
    await using line = new WitnessLine({
      name: 'witness',
      signIn: witness.signIn,
      log: silent,
      onWord: (word) => told.push(word),
    });
    line.connect([{ ...beat.logServer, host, clientPort: Number(clientPort) }]);
    const isHeard = () => {
      line.send(beat);
      return heard.includes('witness');
    };
    await waitFor('the witness to be heard', isHeard, { timeoutMs: WAIT_MS, everyMs: 50 });
    tellWitness(agents, 'witness', { word: 'w', by: 'a', signature: 's' });
    await waitFor('the word', () => told.length > 0, { timeoutMs: WAIT_MS, everyMs: 20 });
    expect(told).toEqual([{ word: 'w', by: 'a', signature: 's' }]);
    for (const [signer, subject] of [
      [witness, 'cs.witness.other'],
      [workers[0], 'cs.witness.witness'],
      [workers[0], '_INBOX.witness.witness.told'],
      [supervisor, 'cs.witness.witness'],
    ] as const) {
      const refused = await refusalsOf(signer, (connection) => connection.publish(subject, '{}'));
      expect(refused).toEqual([expect.stringContaining(`Publish to "${subject}"`)]);
    }
  });

  it('a witness asks whether its own log server is heard, and makes nothing for it', async () => {
    const own = link(witness);
    await own.waitUntilUp(WAIT_MS);
    const { config } = await ask(own, `STREAM.INFO.${INCARNATION_STREAM}`, {}, WAIT_MS);
    expect(config).toMatchObject({ name: INCARNATION_STREAM });
  });

  it('an agent writes the change log', async () => {
    const own = link(agent);
    await own.waitUntilUp(WAIT_MS);
    const subject = names.change('user', 'alice');
    expect((await publish(own, subject, Buffer.from('document'), WAIT_MS)).kind).toBe('stored');
  });
});

const HEARTBEAT: Omit<Heartbeat, 'wallMs'> = {
  node: 'node-1',
  instance: 'instance',
  role: 'master',
  isHandingOver: false,
  masterSince: null,
  leaseHolder: 'node-1',
  epoch: 1,
  incarnation: { number: 1, id: 'id' },
  filling: null,
  logServer: null,
  logServerTag: null,
  storeMark: null,
  revision: 0,
  digest: '',
  isDigestComparable: true,
  isPromotable: true,
  version: '0.1.0',
  format: 1,
  url: null,
  isLogWritable: true,
  problems: [],
};
