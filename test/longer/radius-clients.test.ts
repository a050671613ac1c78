import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  hasFreeradius,
  hasSlapd,
  startTestSlapd,
  waitFor,
  type TestSlapd,
} from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { Conversation } from '../harness/conversation.ts';
import { importPeople } from '../harness/directories.ts';
import { canMakeMachines, canMakeTunnels, Machine } from '../harness/machine.ts';
import { enrolPerson, type Person } from '../harness/people.ts';
import { report } from '../harness/report.ts';
import { hasSshd, SshServer } from '../harness/ssh-server.ts';
import { hasVpn, VpnGateway, type VpnClient } from '../harness/vpn-gateway.ts';

const SECRETS = {
  ocserv: 'shared-with-ocserv',
  servers: 'shared-with-sshd',
  tools: 'shared-with-tools',
};
const QUESTION = 'Enter the code from your authenticator';
const REFUSED = { code: 255, said: expect.stringContaining('Permission denied') };

const forAll = {
  'root, who can make network namespaces': canMakeMachines,
  'slapd, ldap-utils': hasSlapd,
  'freeradius, freeradius-utils': hasFreeradius,
};
const forVpn = { ...forAll, '/dev/net/tun': canMakeTunnels, 'ocserv, openconnect': hasVpn };
const forSsh = { ...forAll, 'openssh-server, libpam-radius-auth': hasSshd };
type Needed = Record<string, boolean>;
const lacks = (needed: Needed) => Object.values(needed).includes(false);
/** Behind the name of what is skipped: why. */
const why = (needed: Needed) => {
  const missing = Object.keys(needed).filter((what) => !needed[what]);
  return missing.length === 0 ? '' : ` (needs ${missing.join('; ')})`;
};

let slapd: TestSlapd;
let cluster: TestCluster;
let vpnMachine: Machine;
let sshMachine: Machine;
let alice: Person;

beforeAll(async () => {
  if (lacks(forAll)) return;
  vpnMachine = await Machine.start({ peers: 3 });
  sshMachine = await Machine.start({ peers: 3 });
  slapd = await startTestSlapd();
  cluster = await TestCluster.start({
    // Each node has an address on both cables, as on a network that it shares with them.
    configure: (config, name) => ({ ...config, radius: { host: addressesOf(name) } }),
  });
  const api = cluster.api(await cluster.master());
  await importPeople(api, slapd, ['alice']);
  alice = await enrolPerson(api, 'alice');
  const clients = {
    ocserv: { addresses: [vpnMachine.address], messageAuthenticator: 'off' },
    servers: { addresses: [sshMachine.address], messageAuthenticator: 'off' },
    // What asks from here asks from the address that it asks.
    tools: { addresses: cluster.nodes.flatMap(({ name }) => addressesOf(name)) },
  } as const;
  for (const name of ['ocserv', 'servers', 'tools'] as const) {
    await api.done('POST', '/api/v1/applications', { name });
    const client = { name, application: name, secret: SECRETS[name], ...clients[name] };
    await api.done('POST', '/api/v1/radius/clients', client);
  }
  await cluster.untilWhole();
  await Promise.all(cluster.nodes.map(untilServed));
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await slapd?.stop();
  await vpnMachine?.[Symbol.asyncDispose]();
  await sshMachine?.[Symbol.asyncDispose]();
});

describe.skipIf(lacks(forVpn))(`ocserv and openconnect${why(forVpn)}`, () => {
  let gateway: VpnGateway;
  beforeAll(async () => {
    gateway = await VpnGateway.start(vpnMachine, {
      servers: vpnMachine.peers,
      secret: SECRETS.ocserv,
      // As docs/integrations/ocserv.md has them.
      more: ['radius_timeout 2', 'radius_retries 1'],
    });
  });
  afterAll(async () => gateway?.[Symbol.asyncDispose]());

  it('the VPN asks for the code behind the password, and data passes through its tunnel', async () => {
    await using client = await gateway.dial('alice');
    await client.untilSaid('Password:');
    client.type(slapd.personPassword);
    await client.untilSaid(QUESTION);
    await expect(client.sendInside(Buffer.from('too early'))).rejects.toThrow();
    client.type(alice.nextCode());
    await expectTunnel(client);
    await client.hangUp();
    await expect(client.sendInside(Buffer.from('too late'))).rejects.toThrow();
  });

  it('the VPN takes a code in the password field, once', async () => {
    const typed = `${slapd.personPassword},${alice.nextCode()}`;
    await using client = await gateway.dial('alice');
    await client.untilSaid('Password:');
    client.type(typed);
    await expectTunnel(client);
    await client.hangUp();
    await using another = await gateway.dial('alice');
    await another.untilSaid('Password:');
    another.type(typed);
    await another.untilSaid('Password:');
    await expect(another.sendInside(Buffer.from('replayed'))).rejects.toThrow();
  });

  it('a wrong code opens no tunnel', async () => {
    await using client = await gateway.dial('alice');
    await client.untilSaid('Password:');
    client.type(slapd.personPassword);
    await client.untilSaid(QUESTION);
    client.type(alice.wrongCode());
    // It gives up: ocserv asks again after a wrong password, not after a wrong answer.
    expect(await client.untilEnded()).not.toBe(0);
    expect(client.said).not.toContain('Configured as');
    await expect(client.sendInside(Buffer.from('wrong'))).rejects.toThrow();
  });

  it('with the node that the VPN asked killed, the next sign-in is taken by another', async () => {
    const signIn = async () => {
      await using client = await gateway.dial('alice');
      await client.untilSaid('Password:');
      client.type(slapd.personPassword);
      await client.untilSaid(QUESTION, 20_000);
      client.type(alice.nextCode());
      await expectTunnel(client, 20_000);
      await client.hangUp();
    };
    await withoutItsNode(signIn);
  });
});

describe.skipIf(lacks(forSsh))(`sshd and pam_radius${why(forSsh)}`, () => {
  let server: SshServer;
  beforeAll(async () => {
    server = await SshServer.start(sshMachine, {
      user: 'alice',
      // As docs/integrations/linux-pam.md has them.
      auth: 'auth    required    pam_radius_auth.so',
      session: 'session optional    pam_radius_auth.so',
      servers: sshMachine.peers.map((peer) => `${peer}:1812 ${SECRETS.servers} 5`),
    });
  });
  afterAll(async () => server?.[Symbol.asyncDispose]());

  it('ssh asks for the code behind the password, and a command runs as that user', async () => {
    const typed = [slapd.personPassword, alice.nextCode()];
    const login = await server.run('alice', typed, 'id -un');
    expect(login).toMatchObject({ code: 0, said: 'alice\n' });
    expect(login.prompts).toEqual([
      expect.stringContaining('Password:'),
      expect.stringContaining(QUESTION),
    ]);
  });

  it('ssh takes a code in the password field, once', async () => {
    const typed = [`${slapd.personPassword},${alice.nextCode()}`];
    const login = await server.run('alice', typed, 'id -un');
    expect(login).toMatchObject({ code: 0, said: 'alice\n' });
    expect(login.prompts).toHaveLength(1);
    expect(await server.run('alice', typed, 'id -un')).toMatchObject(REFUSED);
  });

  it('ssh is refused with a wrong code, and with a wrong password', async () => {
    const wrongs = [[slapd.personPassword, alice.wrongCode()], [`wrong,${alice.nextCode()}`]];
    for (const typed of wrongs) {
      expect(await server.run('alice', typed, 'id -un')).toMatchObject(REFUSED);
    }
  });

  it('with the node that sshd asked killed, the next sign-in is taken by another', async () => {
    await withoutItsNode(async () => {
      const typed = [slapd.personPassword, alice.nextCode()];
      const login = await server.run('alice', typed, 'id -un');
      expect(login).toMatchObject({ code: 0, said: 'alice\n' });
    });
  });
});

describe.skipIf(lacks(forAll))(`radclient and radtest${why(forAll)}`, () => {
  it('radclient signs in with a code, and with the answer to the question', async () => {
    const [node] = addressesOf('node-2');
    const ask = (password: string, more = '') =>
      radclient(node!, 'auth', `User-Name=alice,User-Password="${password}"${more}`);
    expect(await ask(`${slapd.personPassword},${alice.nextCode()}`)).toContain(
      'Received Access-Accept',
    );
    const asked = await ask(slapd.personPassword);
    expect(asked).toContain('Received Access-Challenge');
    expect(asked).toContain(`Reply-Message = "${QUESTION}`);
    const [, state] = /Challenge[^]*State = (0x[0-9a-f]+)/.exec(asked) ?? [];
    expect(await ask(alice.wrongCode(), `,State=${state}`)).toContain('Received Access-Reject');
    expect(await ask(alice.nextCode(), `,State=${state}`)).toContain('Received Access-Accept');
  });

  it('radtest signs in with a code, and is shown the question without one', async () => {
    const [node] = addressesOf('node-3');
    const radtest = async (password: string) => {
      const args = ['alice', password, `${node}:1812`, '0', SECRETS.tools, '0', node!];
      const program = new Conversation(spawn('radtest', args, { stdio: 'pipe' }));
      await program.untilEnded(30_000);
      return program.said;
    };
    const accepted = await radtest(`${slapd.personPassword},${alice.nextCode()}`);
    expect(accepted).toContain('Received Access-Accept');
    expect(await radtest(slapd.personPassword)).toContain(`Reply-Message = "${QUESTION}`);
    expect(await radtest('wrong')).toContain('Received Access-Reject');
  });
});

/** The addresses of a node: on the VPN's cable, and on that of the machine with sshd. */
function addressesOf(name: string): string[] {
  const index = Number(name.split('-')[1]) - 1;
  return [vpnMachine, sshMachine].map(({ peers }) => peers[index]!);
}

/** A client is in force on a node a moment after its settings are; this is the last of them. */
async function untilServed({ name }: TestNode): Promise<void> {
  const [node] = addressesOf(name);
  const isServed = async () => (await radclient(node!, 'status', '')).includes('Received');
  await waitFor(`RADIUS at ${name}`, isServed, { timeoutMs: 20_000 });
}

async function radclient(node: string, kind: string, attributes: string): Promise<string> {
  const [timeout, tries] = kind === 'status' ? ['1', '1'] : ['15', '1'];
  const args = ['-x', '-t', timeout, '-r', tries, `${node}:1812`, kind, SECRETS.tools];
  const program = new Conversation(spawn('radclient', args, { stdio: 'pipe' }));
  program.type(`${attributes},Message-Authenticator=0x00`.replace(/^,/, ''));
  program.program.stdin.end();
  await program.untilEnded(20_000);
  return program.said;
}

/** Signs in, kills the node that answered, and signs in again. */
async function withoutItsNode(signIn: () => Promise<void>): Promise<void> {
  const [first, ...others] = cluster.nodes as [TestNode, ...TestNode[]];
  const before = await countAnswered(first);
  await signIn();
  expect(await countAnswered(first)).toBeGreaterThan(before);
  const counts = await Promise.all(others.map(countAnswered));
  await first.killAll();
  const killedAt = performance.now();
  try {
    await signIn();
    report('a sign-in with the first of the RADIUS servers dead', {
      client: expect.getState().currentTestName ?? '',
      tookMs: Math.round(performance.now() - killedAt),
    });
    const now = await Promise.all(others.map(countAnswered));
    expect(now).not.toEqual(counts);
  } finally {
    first.start();
    await first.untilReady();
    await cluster.untilWhole();
  }
}

/** How many RADIUS requests a node's only worker has answered. */
async function countAnswered({ url }: TestNode): Promise<number> {
  const headers = { authorization: `Bearer ${cluster.apiKey}` };
  const signal = AbortSignal.timeout(5000);
  const text = await (await fetch(`${url}/metrics`, { headers, signal })).text();
  const [, count] = /^countersign_radius_answered_total(?:\{[^}]*\})? (\d+)$/m.exec(text) ?? [];
  if (count === undefined) throw new Error(`no count of RADIUS answers at ${url}:\n${text}`);
  return Number(count);
}

async function expectTunnel(client: VpnClient, timeoutMs?: number): Promise<void> {
  await client.untilSaid('Configured as', timeoutMs);
  const bytes = randomBytes(60_000);
  expect(await client.sendInside(bytes)).toEqual({
    from: expect.stringMatching(/^10\.98\.0\./),
    sha256: createHash('sha256').update(bytes).digest('hex'),
  });
}
