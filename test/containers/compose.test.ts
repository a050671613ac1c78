import { randomBytes } from 'node:crypto';

import { makeAttribute } from '@countersign/radius';
import { waitFor } from '@countersign/testing';
import { decodeBase32, hotp, totpStep } from '@countersign/verification';
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { VerificationReply } from '../harness/api-client.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { RadiusDevice } from '../harness/radius-device.ts';
import { ComposeCluster } from './compose-cluster.ts';
import { docker } from './docker.ts';

const image = `countersign-test-compose:${randomBytes(4).toString('hex')}`;
const nodes = ['node-1', 'node-2', 'node-3'];
let cluster: ComposeCluster;
let people: Person[];
let samples: Map<string, string>;

beforeAll(async () => {
  cluster = await ComposeCluster.prepare(image);
  const startedAt = performance.now();
  await cluster.up();
  let tries = 0;
  // A machine with little to spare changes masters while all of them start.
  people = await waitFor('users', () => enrolPeople(cluster.api, `person-${(tries += 1)}`, 3), {
    timeoutMs: 120_000,
    everyMs: 500,
  });
  // Each sign-in comes to whichever node the balancer takes.
  await cluster.untilHealed();
  expect((await signIn(people[0]!)).status).toBe('approved');
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(`compose: the first verification ${seconds.toFixed(1)} s after "up"`);
  const text = await cluster.read('/var/lib/countersign/samples.txt');
  const lines = text.split('\n').map((line) => /^(.*?) {2,}(.*)$/.exec(line)!);
  samples = new Map(lines.map(([, name, value]) => [name!, value!]));
}, 600_000);

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await docker(['rmi', '--force', image, `${image}-directory`]);
}, 200_000);

async function signIn(person: Person): Promise<VerificationReply> {
  const body = { username: person.username, code: person.nextCode() };
  return (await cluster.api.verify(body, { timeoutMs: 10_000 })).body;
}

/** One sign-in after the other, until `over` is settled; and what was not approved. */
async function signInUntil(over: Promise<unknown>): Promise<{ count: number; failed: string[] }> {
  const failed: string[] = [];
  let count = 0;
  let isOver = false;
  void over.then(
    () => (isOver = true),
    () => (isOver = true),
  );
  while (!isOver) {
    const person = people[count % people.length]!;
    count += 1;
    const answer = await signIn(person).catch(String);
    if (typeof answer === 'string') failed.push(answer);
    else if (answer.status !== 'approved') failed.push(`${answer.status} ${answer.reason}`);
  }
  await over;
  return { count, failed };
}

async function masterOf(): Promise<string> {
  const name = await waitFor('a master', async () => (await cluster.api.cluster()).master, {
    timeoutMs: 60_000,
    everyMs: 200,
  });
  return name;
}

/** Repeats the same command until a master has done it. */
async function untilWritten(path: string, body: object): Promise<void> {
  const idempotencyKey = randomBytes(12).toString('hex');
  await waitFor(
    `POST ${path}`,
    async () => (await cluster.api.call('POST', path, { body, idempotencyKey })).status === 201,
    { timeoutMs: 60_000, everyMs: 500 },
  );
}

describe('docker compose up', () => {
  it('runs everything as an ordinary user, on a read-only root filesystem, without capabilities', async () => {
    const ids = (await cluster.compose(['ps', '--quiet'])).split('\n');
    const format =
      '{{.Name}} {{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.Privileged}}';
    const lines = (await docker(['inspect', '--format', format, ...ids])).split('\n');
    expect(lines.length).toBe(9);
    for (const line of lines)
      expect(line).toMatch(/ (countersign|openldap|[1-9]\S*) true \[ALL\] false$/);
  });

  it('lets somebody in through the balancer once, and believes nobody about an address', async () => {
    const [person] = people as [Person];
    const { username } = person;
    let body = { username, code: '' };
    const headers = { 'x-forwarded-for': '203.0.113.9', forwarded: 'for=203.0.113.9' };
    // The log may be silent for a moment, in which a node judges alone.
    await waitFor(
      'an approval with the quorum',
      async () => {
        body = { username, code: person.nextCode() };
        const first = await cluster.api.call<VerificationReply>('POST', '/api/v1/verifications', {
          body,
          headers,
        });
        return first.body.status === 'approved' && !first.body.degraded;
      },
      { timeoutMs: 20_000, everyMs: 500 },
    );
    expect((await cluster.api.verify(body)).body).toMatchObject({ reason: 'replayed' });
    const events = await waitFor(
      'the event',
      async () => {
        const text = await cluster.cli('node-1', 'events', '--user', person.username, '--json');
        return text.includes('replayed') ? text : null;
      },
      { timeoutMs: 20_000, everyMs: 500 },
    );
    expect(events).not.toContain('203.0.113.9');
  });

  it('takes a password of the directory and a code by RADIUS at a port of a node', async () => {
    const [person] = people as [Person];
    const secret = samples.get('RADIUS secret')!;
    const to = { address: '127.0.0.1', port: cluster.radiusPorts[1] };
    await using device = await RadiusDevice.open({ to, from: '127.0.0.1', secret });
    const wrong = device.signIn('carol', `nobody's password,${person.comingCode()}`);
    expect((await device.ask(wrong)).kind).toBe('reject');
    const seed = /secret=([A-Z2-7]+)/.exec(samples.get("alice's token")!)![1]!;
    const parameters = { algorithm: 'SHA1', digits: 6 } as const;
    const code = hotp(decodeBase32(seed), totpStep(Date.now(), 30), parameters);
    const typed = `${samples.get('their password')},${code}`;
    const from = (station: string) => [makeAttribute('Calling-Station-Id', station)];
    const first = device.signIn('alice', typed, from('198.51.100.1'));
    expect((await device.ask(first)).kind).toBe('accept');
    const thief = device.signIn('alice', typed, from('198.51.100.2'));
    expect((await device.ask(thief)).kind).toBe('reject');
  });

  it('shows its metrics and who is master to nobody outside, and speaks TLS only', async () => {
    for (const path of ['/metrics', '/readyz/master']) {
      expect(await cluster.statusOf(path)).toBe(404);
    }
    await expect(request(`http://localhost:${cluster.httpsPort}/healthz`)).rejects.toThrow();
    const unknown = request(`${cluster.url}/healthz`);
    await expect(unknown).rejects.toMatchObject({ code: expect.stringContaining('SELF_SIGNED') });
  });

  it('has no secret in its logs, its configuration or the environment of a container', async () => {
    const ids = (await cluster.compose(['ps', '--all', '--quiet'])).split('\n');
    const [logs, config, containers] = await Promise.all([
      cluster.compose(['logs', '--no-color']),
      cluster.compose(['config']),
      docker(['inspect', ...ids]),
    ]);
    const apiKey = await cluster.read('/var/lib/countersign/api-key');
    const password = await cluster.read('/run/secrets/node-1/database-password');
    const seed = /secret=([A-Z2-7]+)/.exec(samples.get("alice's token")!)![1]!;
    const secrets = [apiKey, password, seed, samples.get('RADIUS secret')!];
    secrets.push(samples.get('their password')!);
    for (const secret of secrets) {
      expect(secret.length).toBeGreaterThan(15);
      for (const text of [logs, config, containers]) expect(text.includes(secret)).toBe(false);
    }
  });
});

// What a node held when it fell silent, until the balancer has asked it twice in vain.
const mostLost = 2;

describe('behind the balancer people sign in on, whatever happens to one node:', () => {
  it('a node that is killed', async () => {
    const master = await masterOf();
    const victim = nodes.find((name) => name !== master)!;
    await docker(['kill', '--signal', 'KILL', cluster.containerOf(victim)]);
    const missed = waitFor(
      'it to be missed',
      async () => {
        const { nodes: seen } = await cluster.api.cluster();
        return seen.find(({ name }) => name === victim)?.online === false;
      },
      { timeoutMs: 60_000, everyMs: 500 },
    );
    expect((await signInUntil(missed)).failed.length).toBeLessThanOrEqual(mostLost);
    await docker(['start', cluster.containerOf(victim)]);
    await cluster.untilHealed();
  });

  it('a master that hangs: another one takes over, and it comes back as a subordinate', async () => {
    const master = await masterOf();
    await docker(['pause', cluster.containerOf(master)]);
    const next = waitFor(
      'another master',
      async () => {
        const { master: now } = await cluster.api.cluster();
        return now !== null && now !== master ? now : null;
      },
      { timeoutMs: 90_000, everyMs: 500 },
    );
    let lost: string[];
    try {
      const { count, failed } = await signInUntil(next);
      expect(count).toBeGreaterThan(failed.length);
      lost = failed;
    } finally {
      await docker(['unpause', cluster.containerOf(master)]);
    }
    expect(lost.length).toBeLessThanOrEqual(mostLost);
    const healed = await cluster.untilHealed();
    expect(healed.master).not.toBe(master);
    expect(await signIn(people[0]!)).toMatchObject({ status: 'approved' });
  });

  it('a node that is cut off from all others, and it holds the same as they when it is back', async () => {
    const master = await masterOf();
    const alone = nodes.find((name) => name !== master)!;
    const heal = await cluster.cutOff(alone);
    try {
      await waitFor(
        'it to be missed',
        async () => {
          const { nodes: seen } = await cluster.api.cluster();
          return seen.find(({ name }) => name === alone)?.online === false;
        },
        { timeoutMs: 60_000, everyMs: 500 },
      );
      await untilWritten('/api/v1/users', { username: 'meanwhile' });
      for (const person of people) expect((await signIn(person)).status).toBe('approved');
    } finally {
      await heal();
    }
    // The balancer may ask a node that has not heard yet that the others went on.
    const shown = await waitFor(
      'it to hold what it missed',
      () => cluster.cli(alone, 'user', 'show', 'meanwhile'),
      { timeoutMs: 60_000, everyMs: 500 },
    );
    expect(shown).toContain('meanwhile');
    await cluster.untilHealed();
  });

  it('a planned hand-over to the node that promote names', async () => {
    const master = await masterOf();
    const next = nodes.find((name) => name !== master)!;
    // Asked again where it says that nothing was changed.
    const promoted = waitFor('the hand-over', () => cluster.cli(next, 'promote', next), {
      timeoutMs: 60_000,
      everyMs: 500,
    });
    expect(await signInUntil(promoted)).toMatchObject({ failed: [] });
    await waitFor('every node to know it', async () => (await masterOf()) === next, {
      timeoutMs: 20_000,
      everyMs: 200,
    });
    await cluster.untilHealed();
  });
});
