import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Membership,
  namesOf,
  readStreamState,
  serveHello,
  type LogLayout,
} from '@countersign/cluster';
import type { Database } from '@countersign/database';
import { sealerOf } from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import type { AgentConfig } from './config.ts';
import { Disaster } from './disaster.ts';
import { AgentEvents } from './events.ts';
import { Replica } from './replica.ts';
import { startTestMaster } from './testing/start-test-master.ts';
import { makeIncarnation, silent, useTestLog } from './testing/use-test-log.ts';
import { noWitnesses } from './testing/no-witnesses.ts';

const test = useTestLog({ servers: 3 });
type Master = Awaited<ReturnType<typeof startTestMaster>>;

/** Of the node with that server; no other has an agent. */
function disasterAt(master: Master, { own = 0, replica = master.replica } = {}) {
  const { user, password, urls } = test.nats();
  const logServers = urls.map((url, index) => {
    const clientPort = Number(new URL(url).port);
    return { name: nameOf(index), host: '127.0.0.1', clientPort, routePort: 0 };
  });
  const dataDirectory = mkdtempSync(join(tmpdir(), 'countersign-disaster-'));
  test.atEnd(async () => rmSync(dataDirectory, { recursive: true, force: true }));
  const { db, keys, link, incarnation } = master;
  const config: Partial<AgentConfig> = {
    node: nameOf(own),
    nats: { user, password },
    logServer: logServers[own]!,
    logServers,
    dataDirectory,
  };
  let begunAgain = 0;
  const disaster = new Disaster({
    shared: {
      config: config as AgentConfig,
      keys,
      db,
      events: new AgentEvents(db, nameOf(own), () => undefined),
      log: pino({ enabled: false }),
    },
    layout: { tag: '1', servers: logServers, by: null, disasterAt: null },
    link,
    incarnation,
    replica,
    membership: new Membership(link),
    isWitness: noWitnesses.isWitness,
    stopApplying: master.stopApplying,
    beginAgain: () => (begunAgain += 1),
  });
  return { disaster, begunAgain: () => begunAgain };
}

const nameOf = (index: number) => `node-${index + 1}`;

async function leaderOf({ link }: Master, stream: string): Promise<number> {
  const name = await waitFor(
    `a leader of ${stream}`,
    async () => {
      const state = await readStreamState(link, stream, 1000);
      return state?.hasLeader ? state.servers[0]?.name : null;
    },
    { timeoutMs: 20_000 },
  );
  return Number(name.replace('test-', ''));
}

describe('a node that rejoins', () => {
  it('saves every change that it has acknowledged, also at the last moment, and acknowledges none after', async () => {
    const master = await startTestMaster(test);
    const { mastership, command, incarnation, keys } = master;
    const add = (username: string) => mastership.handle(command('user.add', { username }, 6000));
    await add('known-to-both');
    const { revision } = master.replica.applied;
    const left = { id: incarnation.id, number: incarnation.number, revision, epoch: 1 };
    const theirs = { ...makeIncarnation(incarnation.number + 1), ancestors: [left] };
    const elsewhere: LogLayout = { tag: 'other', servers: [], by: null, disasterAt: null };
    const link = test.connect();
    serveHello({
      link,
      sealer: sealerOf(keys.command),
      describe: async () => ({
        node: 'node-2',
        layout: elsewhere,
        place: { incarnation: theirs, revision: revision + 500, epoch: 3 },
        highestNumber: incarnation.number + 1,
        storeMarks: {},
        master: 'node-2',
        isLogWritable: true,
        knownNodes: [],
      }),
    });
    const acknowledged: string[] = [];
    const writing = (async () => {
      for (let count = 0; ; count += 1) {
        const username = `only-here-${count}`;
        if ((await add(username)).kind !== 'done') return;
        acknowledged.push(username);
      }
    })();
    await waitFor('writes', () => acknowledged.length > 3, { timeoutMs: 10_000 });

    const { disaster } = disasterAt(master);
    // Whoever is silent for a second is not found.
    const found = { timeoutMs: 15_000 };
    const { token } = await waitFor('the other', () => disaster.describeRejoin(), found);
    const { file, layout } = await waitFor('the other', () => disaster.rejoin(token), found);
    expect((await add('too-late')).kind).not.toBe('done');
    await writing;
    expect(layout).toEqual(elsewhere);
    const saved = readFileSync(file, 'utf8').trim().split('\n');
    const names = saved.map((line) => (JSON.parse(line) as { name: string }).name);
    expect(names).toEqual(expect.arrayContaining(acknowledged));
    expect(names).not.toContain('known-to-both');
    await link.close();
  });
});

describe('a forced promotion', () => {
  it('is refused while the log takes writes, and where it fails the node goes on as before', async () => {
    const master = await startTestMaster(test);
    const other = test.openAgain(master.db);
    const replica = await openReplica(master, other);
    await master.mastership.handle(master.command('user.add', { username: 'last' }));

    const first = await leaderOf(master, namesOf(master.incarnation.number).states);
    const [own, second] = [0, 1, 2].filter((index) => index !== first) as [number, number];
    const { disaster, begunAgain } = disasterAt(master, { own, replica });
    const others = [first, second].toSorted().map(nameOf).join(', ');
    const hanging =
      `the log takes writes, only the agents of ${others} do not answer: restart those nodes, and ` +
      `use countersign promote ${nameOf(own)} without --force`;
    expect(await disaster.describePromotion()).toMatchObject({ answering: [], refused: hanging });
    await test.nats().kill(first);
    // Until the two that are left have elected another, for which it waits 10 s.
    const afterElection = async () => {
      const askedAt = performance.now();
      const { refused } = await disaster.describePromotion();
      return refused ?? (performance.now() - askedAt > 10_000 ? null : 'not waited for');
    };
    const verdict = await waitFor('the election', afterElection, { timeoutMs: 60_000 });
    expect(verdict).toBe(hanging);

    await test.nats().kill(second);
    await other.close();
    const { refused, token } = await disaster.describePromotion();
    expect(refused).toBeNull();
    await expect(disaster.promote(token)).rejects.toThrow(/the node goes on as before, try again/);
    expect(begunAgain()).toBe(1);

    const again = disasterAt(master, { own, replica: await openReplica(master, master.db) });
    const { layout } = await again.disaster.promote(token);
    expect(layout.servers.map(({ name }) => name)).toEqual([nameOf(own)]);
    expect(again.begunAgain()).toBe(0);
  }, 120_000);
});

function openReplica({ link, incarnation, keys }: Master, db: Database): Promise<Replica> {
  return Replica.open({
    db,
    link,
    incarnation,
    sealer: sealerOf(keys.document),
    onApplied: () => undefined,
    onDiverged: async () => undefined,
    log: silent,
  });
}
