import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { readIdentity } from '@countersign/identity';
import { takeFreePorts, waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { DIE_AT_STEP, killAtEveryStep, runUntilStep } from '../harness/kill-at-steps.ts';
import { copyFolder, storeOf } from '../harness/log-stores.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { isAlive, processesIn } from '../harness/processes.ts';
import { report } from '../harness/report.ts';
import { runCli } from '../harness/run-cli.ts';

const CLI = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url));
const LONG_MS = 900_000;

let cluster: TestCluster;
let node: TestNode;
let people: Person[];

async function startCluster(options: Parameters<typeof TestCluster.start>[0]): Promise<void> {
  cluster = await TestCluster.start({ nodes: 1, ...options });
  [node] = cluster.nodes as [TestNode];
  people = await enrolPeople(cluster.api(node), 'person', 4);
}

/** Of whoever was not asked yet, so that no code is of the past. */
async function expectVerifies(): Promise<void> {
  const person = people.pop()!;
  const { body } = await cluster
    .api(node)
    .verify({ username: person.username, code: person.nextCode() });
  expect(['approved', 'resync']).toContain(body.reason ?? body.status);
}

/** A node that is started on what a killed command has left ends at once and says which command to run again. */
async function expectRefused(configFile: string, why: RegExp): Promise<void> {
  const started = await runUntilStep(['node', '--config', configFile], { step: null });
  expect(started, started.stderr).toMatchObject({ code: 1, stderr: expect.stringMatching(why) });
}

describe('killed -9 at each of its steps, and then run again', () => {
  beforeAll(async () => {
    process.env.COUNTERSIGN_BACKUP_PASSPHRASE = 'a passphrase for the drill';
    await startCluster({ isFounded: true });
  });
  afterAll(async () => {
    for (const pid of processesIn(cluster.folder)) process.kill(pid, 'SIGKILL');
    await cluster?.[Symbol.asyncDispose]();
    delete process.env.COUNTERSIGN_BACKUP_PASSPHRASE;
  });

  it(
    'init founds one cluster, and no node starts before it is whole',
    async () => {
      const folder = join(cluster.folder, 'founded');
      const configFile = join(cluster.folder, 'founded.json');
      const about = ['--name', 'one', '--host', '127.0.0.1', '--config', configFile];
      const args = ['init', ...about, '--data', folder];
      const last = await killAtEveryStep(args, {
        async afterKill() {
          const isWhole = existsSync(join(folder, 'identity'));
          if (!isWhole) {
            await expectRefused(configFile, /init was interrupted here: run it again|cannot read/);
          }
          const { code, stderr } = await runUntilStep(args, { step: null });
          expect(code, stderr).toBe(isWhole ? 1 : 0);
          if (isWhole) expect(stderr).toContain('start it with countersign node');
          expect(readIdentity(join(folder, 'identity'))?.nodeName).toBe('one');
          for (const made of [folder, configFile]) rmSync(made, { recursive: true });
        },
      });
      expect(last, last.stderr).toMatchObject({ code: 0 });
      report('init, killed at each step', { kills: last.kills });
    },
    LONG_MS,
  );

  it(
    'join makes one member with the one token',
    async () => {
      const folder = join(cluster.folder, 'joiner');
      const configFile = join(cluster.folder, 'joiner.json');
      const made = await runCli(node, ['join-token', 'create']);
      const [token] = /cs_join_[\w-]+/.exec(made.stdout)!;
      const [port] = await takeFreePorts(1);
      const about = ['--name', 'joiner', '--host', '127.0.0.1', '--port', String(port)];
      const where = ['--config', configFile, '--data', folder];
      const args = ['join', '--server', node.url, ...about, ...where];
      const { code, stderr, kills } = await killAtEveryStep(args, {
        env: { COUNTERSIGN_JOIN_TOKEN: token },
        async afterKill() {
          if (existsSync(join(folder, 'identity'))) return;
          await expectRefused(configFile, /join was interrupted here: run it again|cannot read/);
        },
      });
      expect([code, stderr]).toEqual([
        1,
        expect.stringContaining('start it with countersign node'),
      ]);
      const { members } = readIdentity(join(folder, 'identity'))!.members;
      expect(members.map(({ name }) => name)).toEqual(['joiner', node.name]);
      report('join, killed at each step', { kills });
    },
    LONG_MS,
  );

  it(
    'backup leaves a whole file under its name or none',
    async () => {
      const file = join(cluster.folder, 'whole.backup');
      const env = { COUNTERSIGN_SOCKET: join(node.folder, 'countersign.sock') };
      const made = await killAtEveryStep(['backup', file], {
        env,
        async afterKill() {
          if (!existsSync(file)) return;
          const checked = await runCli(node, ['backup', 'verify', file]);
          expect(checked, checked.stderr).toMatchObject({ code: 0 });
        },
      });
      expect([made.code, made.stderr]).toEqual([1, expect.stringContaining('is there already')]);
      report('backup, killed at each step', { kills: made.kills });
    },
    LONG_MS,
  );

  it(
    'restore begins anew, and no node starts on half of it',
    async () => {
      const file = join(cluster.folder, 'lost.backup');
      const made = await runCli(node, ['backup', file]);
      expect(made, made.stderr).toMatchObject({ code: 0 });
      await node.killAll();
      node.deleteEverything();
      const { configFile, folder } = node;
      const mark = join(folder, 'restore-unfinished.json');
      const args = ['restore', file, '--config', configFile, '--host', '127.0.0.1'];
      let refusals = 0;
      const restoreKilled = async (how: { env?: NodeJS.ProcessEnv; stride?: number }) => {
        const { code, stderr, kills } = await killAtEveryStep(args, {
          ...how,
          async afterKill() {
            if (!existsSync(mark)) return;
            await expectRefused(configFile, /was not finished: run "countersign restore" again/);
            refusals += 1;
          },
        });
        const isDone = code === 0 || (code === 1 && stderr.includes('is not empty'));
        expect([isDone, existsSync(mark)], stderr).toEqual([true, false]);
        return kills;
      };
      const amidst = await restoreKilled({ stride: 12 });
      node.deleteEverything();
      const onFiles = await restoreKilled({ env: { COUNTERSIGN_TEST_DIE_PATH: folder } });
      expect(refusals).toBeGreaterThan((amidst + onFiles) / 2);
      const authority = readFileSync(join(folder, 'identity', 'ca.pem'), 'utf8');
      setDefaultCACertificates([...getCACertificates('default'), authority]);
      node.start();
      await node.untilReady();
      await expectVerifies();
      report('restore, killed', { atEachFileStep: onFiles, atEveryTwelfthStep: amidst });
    },
    LONG_MS,
  );
});

describe('a node killed -9 on the way', () => {
  afterAll(async () => cluster?.[Symbol.asyncDispose]());

  it(
    'of its first start, tables and all, is ready in the end and takes writes',
    async () => {
      await startCluster({});
      await node.killAll();
      node.deleteEverything();
      let kills = 0;
      for (let step = 1; (await startUntilStep(step)) === 'killed'; step += 6) kills += 1;
      node.start();
      await node.untilReady();
      cluster.apiKey = await waitFor(
        'the first API key',
        () => readFileSync(join(node.folder, 'first-api-key'), 'utf8').trim(),
        { timeoutMs: 60_000 },
      );
      await cluster.untilWhole();
      people = await enrolPeople(cluster.api(node), 'later', 1);
      await expectVerifies();
      const { code, stdout } = await runCli(node, ['doctor']);
      expect(code, stdout).toBe(0);
      report('first start, killed at every sixth step', { kills });
      await cluster[Symbol.asyncDispose]();
    },
    LONG_MS,
  );

  it(
    'of a rebuild of the log, its agent, comes to one log with everything in it',
    async () => {
      await startCluster({});
      const [known, spent] = people as [Person, Person];
      const spentCode = { username: spent.username, code: spent.nextCode() };
      expect((await cluster.api(node).verify(spentCode)).body.status).toBe('approved');
      const codes = [known.nextCode(), known.nextCode()];
      await cluster.untilWhole();
      await node.killAll();
      rmSync(storeOf(node), { recursive: true });
      const lost = join(cluster.folder, 'lost');
      copyFolder(node.folder, lost);
      let kills = 0;
      for (let step = 1; await rebuildUntilStep(step); step += 6) {
        kills += 1;
        expect(await reasonsOf(known.username, codes)).toEqual(['approved', 'approved']);
        expect(await reasonsOf(spent.username, [spentCode.code])).toEqual(['replayed']);
        await cluster.api(node).done('POST', '/api/v1/users', { username: 'newcomer' });
        await node.end();
        copyFolder(lost, node.folder);
      }
      report('rebuild, its agent killed at every sixth step', { kills });
      expect(kills).toBeGreaterThan(5);
      await cluster[Symbol.asyncDispose]();
    },
    LONG_MS,
  );

  it(
    "of a change of the cluster's key goes on with it",
    async () => {
      let kills = 0;
      for (let step = 1; await changeKeyUntilStep(step); step += 1) kills += 1;
      report('rotate, its supervisor killed at each step on the key file', { kills });
      expect(kills).toBeGreaterThanOrEqual(4);
    },
    LONG_MS,
  );
});

async function startUntilStep(step: number): Promise<string> {
  const child = spawn(
    process.execPath,
    ['--import', DIE_AT_STEP, CLI, 'node', '--config', node.configFile],
    { env: { ...process.env, COUNTERSIGN_TEST_DIE_AT: String(step) }, stdio: 'ignore' },
  );
  const ended = once(child, 'exit');
  const isReady = () =>
    fetch(`${node.url}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
  const came = await waitFor(
    'its end or its start',
    async () => (child.signalCode ? 'killed' : (await isReady()) ? 'ready' : null),
    { timeoutMs: 90_000, everyMs: 50 },
  );
  child.kill('SIGKILL');
  await ended;
  return came;
}

/** Of a node whose log is lost. @returns whether its agent was killed before that step of a forced promotion */
async function rebuildUntilStep(step: number): Promise<boolean> {
  const armed = join(cluster.folder, 'armed');
  node.start({
    NODE_OPTIONS: `--import ${DIE_AT_STEP}`,
    COUNTERSIGN_TEST_DIE_AT: String(step),
    COUNTERSIGN_TEST_DIE_IN: 'replication-agent/src/main.ts',
    COUNTERSIGN_TEST_DIE_SINCE: armed,
  });
  await node.untilReady();
  const { agentPid } = node.pids;
  writeFileSync(armed, '');
  await waitFor(
    'the forced promotion',
    async () => {
      const args = ['promote', node.name, '--force', '--yes'];
      const { code, stderr } = await runCli(node, args);
      // The one before had done it, or enough for the agent to end it by itself.
      if (code !== 0 && !stderr.includes('without --force')) throw new Error(stderr);
      return true;
    },
    { timeoutMs: 90_000, everyMs: 200 },
  );
  rmSync(armed, { force: true });
  await cluster.untilWhole();
  return node.pids.agentPid !== agentPid;
}

async function reasonsOf(username: string, codes: string[]): Promise<(string | undefined)[]> {
  const reasons = [];
  for (const code of codes) {
    const { body } = await cluster.api(node).verify({ username, code });
    reasons.push(body.reason ?? body.status);
  }
  return reasons;
}

/** @returns whether there was such a step, before which the supervisor was killed */
async function changeKeyUntilStep(step: number): Promise<boolean> {
  const armedBy = (folder: string) => join(folder, 'armed');
  await startCluster({
    environmentOf: (folder) => ({
      NODE_OPTIONS: `--import ${DIE_AT_STEP}`,
      COUNTERSIGN_TEST_DIE_AT: String(step),
      COUNTERSIGN_TEST_DIE_PATH: 'cluster.key',
      COUNTERSIGN_TEST_DIE_SINCE: armedBy(folder),
    }),
  });
  try {
    const { supervisorPid } = node.pids;
    const before = await keysOf(node);
    writeFileSync(armedBy(cluster.folder), '');
    await runCli(node, ['keys', 'rotate']);
    const how = await waitFor(
      'the end of the supervisor or of the change',
      async () => {
        if (!isAlive(supervisorPid)) return 'killed';
        return (await keysOf(node).catch(() => null))?.rotation?.isClean && 'done';
      },
      { timeoutMs: 60_000, everyMs: 50 },
    );
    rmSync(armedBy(cluster.folder), { force: true });
    if (how === 'killed') {
      await waitFor('all of it to end', () => processesIn(node.folder).length === 0, {
        timeoutMs: 20_000,
      });
      node.start();
      await node.untilReady();
      await expectVerifies();
      // Asked for again where the wish itself was lost; one that is under way goes on.
      await waitFor(
        'another key',
        async () => (await runCli(node, ['keys', 'rotate'])).code === 0,
        { timeoutMs: 60_000, everyMs: 500 },
      );
    }
    const after = await waitFor(
      'everything to be under the new key',
      async () => {
        const keys = await keysOf(node);
        return keys.rotation?.isClean && keys.active !== before.active ? keys : null;
      },
      { timeoutMs: 60_000, everyMs: 100 },
    );
    const ring = readFileSync(join(node.folder, 'cluster.key'), 'utf8');
    expect(JSON.parse(ring)).toMatchObject({ active: after.active });
    await expectVerifies();
    return how === 'killed';
  } finally {
    await cluster[Symbol.asyncDispose]();
  }
}

type Keys = { active: string; rotation: { isClean: boolean } | null };

async function keysOf(at: TestNode): Promise<Keys> {
  return (await cluster.api(at).done<{ keys: Keys }>('GET', '/api/v1/cluster')).keys;
}
