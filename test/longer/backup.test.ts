import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { runUntilStep } from '../harness/kill-at-steps.ts';
import { enrolPeople, enrolTotpPeople, type Person, type TotpPerson } from '../harness/people.ts';
import { report } from '../harness/report.ts';
import { runCli } from '../harness/run-cli.ts';
import { VerificationLoad, WriteLoad } from '../harness/workload.ts';

let cluster: TestCluster;
let folder: string;
let hotp: Person[];
let busy: Person[];
let totp: TotpPerson[];

beforeAll(async () => {
  process.env.COUNTERSIGN_BACKUP_PASSPHRASE = 'a passphrase for the drill';
  folder = mkdtempSync(join(tmpdir(), 'countersign-drill-'));
  cluster = await TestCluster.start({ isSecured: true });
  const api = cluster.api(await cluster.master());
  hotp = await enrolPeople(api, 'token-holder', 6);
  // Their tokens run ahead of any backup, further than two codes in a row find them again.
  busy = await enrolPeople(api, 'busy', 6);
  totp = await enrolTotpPeople(api, 'app-holder', 3);
  await api.done('POST', '/api/v1/users', { username: 'barred' });
  await api.done('POST', '/api/v1/users/barred/block', { reason: 'lost her phone' });
  await cluster.untilWhole();
  await cluster.untilDigestsEqual();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
  delete process.env.COUNTERSIGN_BACKUP_PASSPHRASE;
});

/** The command, killed -9 before that step of those on paths with `part` in them. */
async function killAmidst(
  args: string[],
  { step, part, socket }: { step: number; part: string; socket?: string },
): Promise<void> {
  const env = { COUNTERSIGN_TEST_DIE_PATH: part, ...(socket && { COUNTERSIGN_SOCKET: socket }) };
  const run = await runUntilStep(args, { step, env });
  expect(run, run.stderr).toMatchObject({ killed: true });
}

/** With a token made at that node, which may have to become the master first. */
async function letIn(by: TestNode, node: TestNode): Promise<void> {
  const token = await waitFor(
    'a join token',
    async () => {
      const made = await runCli(by, ['join-token', 'create']);
      if (made.code !== 0) throw new Error(made.stderr);
      return /cs_join_[\w-]+/.exec(made.stdout)?.[0];
    },
    { timeoutMs: 40_000 },
  );
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, token);
  const about = ['--name', node.name, '--host', '127.0.0.1', '--config', node.configFile];
  const joined = await runCli(node, [
    ...['join', '--server', by.url, '--token-file', tokenFile],
    ...about,
  ]);
  expect(joined, joined.stderr).toMatchObject({ code: 0 });
  node.start();
  await node.untilReady();
}

/** @returns the new generation, when nothing is left under the old one */
async function changeKey(at: TestNode): Promise<string> {
  const changed = await runCli(at, ['keys', 'rotate', '--json']);
  expect(changed, changed.stderr).toMatchObject({ code: 0 });
  await waitFor(
    'everything to be under the new key',
    async () => {
      const { keys } = await cluster
        .api(at)
        .done<{ keys: { rotation: { isClean: boolean } | null } }>('GET', '/api/v1/cluster');
      return keys.rotation?.isClean === true;
    },
    { timeoutMs: 40_000, everyMs: 100 },
  );
  return (JSON.parse(changed.stdout) as { generation: string }).generation;
}

describe('a cluster that is lost with all its machines', () => {
  it('comes back out of a backup made under load: everybody verifies, used codes stay used, new nodes join', async () => {
    const master = await cluster.master();
    const [subordinate] = cluster.others(master.name) as [TestNode];
    const api = cluster.api(subordinate);
    const [locked, ...others] = hotp as [Person, ...Person[]];
    for (let i = 0; i < 5; i += 1) {
      await api.verify({ username: locked.username, code: locked.wrongCode() });
    }
    const used = await Promise.all(
      others.slice(0, 3).map(async (person) => {
        const spent = { username: person.username, code: person.nextCode() };
        expect((await api.verify(spent)).body.status).toBe('approved');
        return spent;
      }),
    );
    const clients = cluster.nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
    await using verifications = new VerificationLoad({
      clients,
      people: busy,
      everyMs: 50,
    });
    await using writes = new WriteLoad({ clients: [api], prefix: 'meanwhile', everyMs: 50 });
    await waitFor('some load', () => verifications.approved > 20, { timeoutMs: 20_000 });

    const file = join(folder, 'cluster.backup');
    const socket = join(subordinate.folder, 'countersign.sock');
    await killAmidst(['backup', file], { step: 2, part: '.partial', socket });
    expect(readdirSync(folder).some((name) => name.endsWith('.partial'))).toBe(true);
    expect(readdirSync(folder)).not.toContain('cluster.backup');
    const backupAt = performance.now();
    const made = await runCli(subordinate, ['backup', file, '--events', '--json']);
    const backupMs = performance.now() - backupAt;
    expect(made, made.stderr).toMatchObject({ code: 0 });
    const verified = await verifications.stop();
    await writes.stop();
    const checked = await runCli(subordinate, ['backup', 'verify', file, '--json']);
    expect(checked, checked.stderr).toMatchObject({ code: 0 });
    const told = JSON.parse(checked.stdout) as { revision: number; node: string; users: number };
    expect(told.node).toBe(subordinate.name);
    expect(told.users).toBeGreaterThanOrEqual(hotp.length + busy.length + totp.length + 1);
    const again = await runCli(subordinate, ['backup', file]);
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('is there already') });
    const bytes = readFileSync(file);
    for (const planted of [
      'token-holder',
      'app-holder',
      'busy-1',
      'lost her phone',
      cluster.apiKey,
    ]) {
      expect(bytes.includes(planted)).toBe(false);
    }
    // Used where no backup knows of it.
    const late = { username: totp[0]!.username, code: totp[0]!.codeNow() };
    expect((await api.verify(late)).body.status).toBe('approved');

    await Promise.all(cluster.nodes.map((node) => node.killAll()));
    const [first, second, third] = cluster.nodes as [TestNode, TestNode, TestNode];
    const oldAuthority = cluster.authority!.certificatePem;
    for (const node of [first, third]) node.deleteEverything();
    // Somebody has what let it into the lost cluster.
    second.deleteData();
    const restore = ['restore', file, '--config', first.configFile, '--host', '127.0.0.1'];
    await killAmidst(restore, { step: 3, part: 'postgres.new' });
    expect(readdirSync(first.folder)).toContain('postgres.new');
    const half = await runCli(first, ['node', '--config', first.configFile]);
    expect(half).toMatchObject({ code: 1, stderr: expect.stringContaining('was not finished') });
    const restoreAt = performance.now();
    const restored = await runCli(first, restore);
    const restoreMs = performance.now() - restoreAt;
    expect(restored, restored.stderr).toMatchObject({ code: 0 });
    expect(restored.stdout).toContain('blocked users: barred');
    const twice = await runCli(first, restore);
    expect(twice).toMatchObject({ code: 1, stderr: expect.stringContaining('is not empty') });

    const newAuthority = readFileSync(join(first.folder, 'identity', 'ca.pem'), 'utf8');
    expect(newAuthority).not.toBe(oldAuthority);
    const trusted = getCACertificates('default').filter((pem) => pem !== oldAuthority);
    setDefaultCACertificates([...trusted, newAuthority]);
    const startAt = performance.now();
    first.start();
    await first.untilReady();
    const reborn = cluster.api(first);
    const reason = async (body: { username: string; code: string }) => {
      const reply = (await reborn.verify(body)).body;
      return reply.reason ?? reply.status;
    };
    // At once, before the log is there again; out of its window where the machine is slow.
    expect(await reason(late)).toMatch(/^(replayed|wrong_code)$/);
    await waitFor(
      'a master of the new incarnation, and its log',
      async () => {
        const view = await reborn.cluster();
        return view.master === first.name && view.quorum && !view.degraded;
      },
      { timeoutMs: 60_000, everyMs: 100 },
    );
    const startMs = performance.now() - startAt;
    expect(await reason(late)).toMatch(/^(replayed|wrong_code)$/);
    for (const spent of used) expect(await reason(spent)).toBe('replayed');
    expect(await reason({ username: 'barred', code: '123456' })).toBe('blocked');
    expect(await reason({ username: locked.username, code: locked.nextCode() })).toBe('locked_out');
    for (const person of others) {
      const { username } = person;
      const judged = [
        await reason({ username, code: person.nextCode() }),
        await reason({ username, code: person.nextCode() }),
      ];
      expect([username, ...judged]).toEqual([username, 'resync', 'approved']);
    }
    for (const person of totp) {
      const { username } = person;
      const judged = await reason({ username, code: person.codeNow(1) });
      expect([username, judged]).toEqual([username, 'approved']);
    }
    await reborn.done('POST', '/api/v1/users', { username: 'newcomer' });

    second.start();
    await waitFor(
      'a machine of the lost cluster to be turned away',
      () => /TLS .*handshake error/.test(first.log('nats-server')),
      { timeoutMs: 20_000, everyMs: 100 },
    );
    expect((await reborn.cluster()).nodes.map(({ name }) => name)).toEqual([first.name]);
    await second.end();
    second.deleteEverything();

    await letIn(first, second);
    const generation = await changeKey(first);
    await first.stop();
    first.start();
    await first.untilReady();
    await letIn(first, third);
    await waitFor(
      'three log servers',
      async () => (await reborn.cluster()).logServers.filter(({ online }) => online).length === 3,
      { timeoutMs: 120_000, everyMs: 200 },
    );
    await cluster.untilWhole();
    await cluster.untilDigestsEqual();
    for (const node of cluster.nodes) {
      const ring = readFileSync(join(node.folder, 'cluster.key'), 'utf8');
      expect(JSON.parse(ring)).toMatchObject({ active: generation });
    }
    const person = others[0]!;
    for (const node of [second, third]) {
      const { body } = await cluster
        .api(node)
        .verify({ username: person.username, code: person.nextCode() });
      expect([node.name, body.status]).toEqual([node.name, 'approved']);
    }
    const events = await runCli(first, ['events', '--json', '--limit', '1000']);
    expect(events.stdout).toContain('token-holder-2');
    report('all machines lost, restored from a backup', {
      backupMs: Math.round(backupMs),
      restoreMs: Math.round(restoreMs),
      startMs: Math.round(startMs),
      failedDuringBackup: verified.failed.length,
      revision: told.revision,
      sizeBytes: bytes.length,
    });
    expect(verified.failed).toEqual([]);
  }, 480_000);
});
