import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as lasting } from 'node:timers/promises';
import { decodeBase32 } from '@countersign/verification';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient, type ClusterReply } from '../harness/api-client.ts';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { report } from '../harness/report.ts';
import { runCli } from '../harness/run-cli.ts';
import { VerificationLoad, WriteLoad } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';
import { History } from '../history/history.ts';

/** More than one look at the other log on each side. */
const APART_MS = 12_000;

let cluster: TestCluster;
/** Cut off, and promoted there by force. */
let alone: TestNode;
let majority: TestNode[];
let there: Person[];
let elsewhere: Person[];
let writes: WriteLoad;
let verifiedElsewhere: VerificationLoad;
/** Of the one code that only the node cut off has accepted, and of the token that only it knows. */
let used: { username: string; code: string };
let secret: string;

beforeAll(async () => {
  cluster = await TestCluster.start({ relays: true });
  const api = cluster.api(await cluster.master());
  there = await enrolPeople(api, 'there', 10);
  elsewhere = await enrolPeople(api, 'elsewhere', 16);
  await api.done('POST', '/api/v1/users', { username: 'removed-there' });
  await cluster.untilWhole();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('a node cut off and promoted by force while the other two go on', () => {
  it('is refused where a majority answers, done where nobody does, and both sides take writes', async () => {
    const master = await cluster.master();
    alone = cluster.others(master.name)[0]!;
    majority = cluster.others(alone.name);
    cluster.cutOff(alone.name);
    verifiedElsewhere = verifyOn(majority, elsewhere);
    writes = new WriteLoad({
      clients: majority.map((node) => cluster.api(node)),
      prefix: 'majority',
      everyMs: 200,
    });

    const cutAt = performance.now();
    const forcing = runCli(alone, ['promote', alone.name, '--force', '--yes']);
    for (const node of majority) {
      const refused = await runCli(node, ['promote', node.name, '--force', '--yes']);
      expect(refused.stderr).toMatch(/2 of 3 log servers' nodes answer .*a majority/);
      for (const { name } of majority) expect(refused.stderr).toContain(name);
      expect(refused.code).toBe(1);
    }
    const forced = await forcing;
    const forcedMs = performance.now() - cutAt;
    expect(forced, forced.stderr).toMatchObject({ code: 0, stderr: '' });
    expect(forced.stdout).toContain('other nodes that answer now: none');
    expect(forced.stdout).toContain(`${alone.name} is the master of incarnation 2`);

    const api = apiThere();
    await api.done('POST', '/api/v1/users', { username: 'only-there' });
    const enrolled = await api.done<{ otpauth: string }>(
      'POST',
      '/api/v1/users/only-there/authenticators',
      { type: 'totp' },
    );
    secret = new URL(enrolled.otpauth).searchParams.get('secret')!;
    await api.done('DELETE', '/api/v1/users/removed-there');
    await waitFor(
      'verification with the quorum there',
      async () => !(await api.cluster()).degraded,
      { timeoutMs: 20_000 },
    );
    const proven = [];
    for (const person of there) proven.push(await proveToken(person));
    used = proven[0]!;
    const before = writes.acknowledged;
    await waitFor('the majority to write on', () => writes.acknowledged > before + 10, {
      timeoutMs: 20_000,
    });
    report('forced promotion of a node cut off', { doneMs: Math.round(forcedMs) });
  });

  it('merges with nobody after healing, and status on both sides says what to type', async () => {
    const views = await viewAll();
    cluster.heal(alone.name);
    const apartUntil = performance.now() + APART_MS;
    while (performance.now() < apartUntil) {
      const now = await viewAll();
      expect(now.map(placeOf)).toEqual(views.map(placeOf));
      await lasting(500);
    }
    const exists = await statusOfUser('only-there');
    expect(exists).toEqual(cluster.nodes.map((node) => (node === alone ? 200 : 404)));

    const seenThere = await runCli(alone, ['status']);
    expect(seenThere.stdout).toMatch(/node-\d lives in another log: incarnation 1 /);
    expect(seenThere.stdout).toContain('countersign rejoin');
    for (const node of majority) {
      const seen = await runCli(node, ['status']);
      expect(seen.stdout).toContain(`${alone.name} lives in another log: incarnation 2 `);
      expect(seen.stdout).toContain('countersign rejoin');
      expect(seen.stdout).not.toContain(`start ${alone.name} again`);
    }
  });

  it('rejoins: its own changes are listed, kept in a file and gone, and the log has three servers again', async () => {
    const listed = await runCli(alone, ['rejoin', '--dry-run', '--json']);
    expect(listed, listed.stderr).toMatchObject({ code: 0 });
    const { drops } = JSON.parse(listed.stdout) as { drops: Dropped[] };
    expect(drops.map(({ kind, name, removed }) => ({ kind, name, removed }))).toEqual([
      { kind: 'user', name: 'only-there', removed: false },
      { kind: 'user', name: 'removed-there', removed: true },
    ]);
    expect(await statusOfUser('only-there')).toContain(200);

    await using verifiedThere = new VerificationLoad({
      clients: [{ name: alone.name, api: apiThere() }],
      // Not the one whose last code was accepted there before.
      people: there.slice(1),
      everyMs: 40,
    });
    await waitFor('verifications there', () => verifiedThere.approved > 20, { timeoutMs: 10_000 });
    const askedAt = performance.now();
    const rejoined = await runCli(alone, ['rejoin', '--yes']);
    expect(rejoined, rejoined.stderr).toMatchObject({ code: 0 });
    const [, file] = /kept in (\S+)/.exec(rejoined.stdout)!;
    expectUnreadable(file!);
    await waitFor(
      'the node to have left its own log',
      async () => (await cluster.api(alone).cluster()).master !== alone.name,
      { timeoutMs: 30_000 },
    );
    const leftMs = performance.now() - askedAt;
    const master = await cluster.untilWhole();
    const wholeMs = performance.now() - askedAt;
    const elsewhereFigures = await verifiedElsewhere.stop();
    const thereFigures = await verifiedThere.stop();
    const written = await writes.stop();
    const view = await cluster.untilDigestsEqual();
    report('rejoin of a node promoted by force', {
      leftMs: Math.round(leftMs),
      wholeMs: Math.round(wholeMs),
      approvedThere: thereFigures.approved,
      degradedThere: thereFigures.degraded,
      failedThere: thereFigures.failed.length,
      gapThereMs: thereFigures.longestGapMs,
      approvedElsewhere: elsewhereFigures.approved,
      degradedElsewhere: elsewhereFigures.degraded,
      failedElsewhere: elsewhereFigures.failed.length,
      gapElsewhereMs: elsewhereFigures.longestGapMs,
      acknowledged: written.acknowledged.length,
      refused: written.refused.length,
      unknown: written.unknown,
      writePauseMs: written.longestPauseMs,
    });
    expect([thereFigures.failed, elsewhereFigures.failed]).toEqual([[], []]);
    expect(thereFigures.longestGapMs).toBeLessThanOrEqual(1500);
    expect(elsewhereFigures.longestGapMs).toBeLessThanOrEqual(1500);
    expect(view.logServers.map(({ name }) => name).toSorted()).toEqual(
      cluster.nodes.map(({ name }) => name),
    );
    expect(view.master).toBe(master.name);
    expect(await statusOfUser('only-there')).toEqual([404, 404, 404]);
    expect(await statusOfUser('removed-there')).toEqual([200, 200, 200]);
    for (const node of cluster.nodes) {
      const { body } = await cluster.api(node).verify(used);
      expect(body, node.name).toMatchObject({ status: 'denied', reason: 'replayed' });
    }
    await expectHistoryHolds(cluster);
  });
});

/** What happens in a log that is given up is no part of the cluster's history. */
function apiThere(): ApiClient {
  const history = new History(join(cluster.folder, 'given-up.jsonl'));
  return new ApiClient(alone, { apiKey: cluster.apiKey, history });
}

type Dropped = { kind: string; name: string; removed: boolean };

/** Two codes in a row, as every HOTP token has to show after a forced promotion; the second is told. */
async function proveToken(person: Person): Promise<{ username: string; code: string }> {
  const { username } = person;
  const api = apiThere();
  const first = await api.verify({ username, code: person.nextCode() });
  expect(first.body).toMatchObject({ status: 'denied', reason: 'resync' });
  const code = person.nextCode();
  const second = await api.verify({ username, code });
  expect(second.body).toMatchObject({ status: 'approved', degraded: false });
  return { username, code };
}

/** Its owner alone reads it, and nobody the secret in it. */
function expectUnreadable(file: string): void {
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const text = readFileSync(file, 'utf8');
  const raw = decodeBase32(secret);
  const lines = text.trim().split('\n');
  expect(lines).toHaveLength(2);
  const messages = lines.map((line) => {
    const { message } = JSON.parse(line) as { message: string };
    return Buffer.from(message, 'base64');
  });
  for (const bytes of [Buffer.from(text), ...messages]) {
    for (const readable of [secret, raw.toString('hex'), raw.toString('base64'), raw]) {
      expect(bytes.includes(readable)).toBe(false);
    }
  }
}

function viewAll(): Promise<ClusterReply[]> {
  return Promise.all(cluster.nodes.map((node) => cluster.api(node).cluster()));
}

const placeOf = ({ incarnation, master }: ClusterReply) => ({ id: incarnation.id, master });

function statusOfUser(username: string): Promise<number[]> {
  return Promise.all(
    cluster.nodes.map(async (node) => {
      const { status } = await cluster.api(node).call('GET', `/api/v1/users/${username}`);
      return status;
    }),
  );
}

function verifyOn(nodes: TestNode[], people: Person[]): VerificationLoad {
  const clients = nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
  return new VerificationLoad({ clients, people, everyMs: 40 });
}
