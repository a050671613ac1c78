import { findValue, makeAttribute, packetCodes, RadiusClient } from '@countersign/radius';
import { runTool } from '@countersign/radius/testing';
import {
  hasFreeradius,
  hasNginxStream,
  startTestFreeradius,
  startTestNginx,
  takeFreePorts,
  type TestFreeradius,
  waitFor,
} from '@countersign/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BalancerNetwork } from '../harness/balancer-network.ts';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { canMakeMachines } from '../harness/machine.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { RadiusDevice } from '../harness/radius-device.ts';
import { report } from '../harness/report.ts';
import { TextGateway } from '../harness/text-gateway.ts';
import { UdpRelay } from '../harness/udp-relay.ts';

/** Where requests come from: each is a client of the cluster's. */
const PROXY = '127.0.0.21';
const LIST = '127.0.0.22';
const BALANCER = '127.0.0.23';
const SECRET = 'shared by many devices';
const OTHER_SECRET = 'shared by one other device';
const soon = { timeout: 15_000 };

let gateway: TextGateway;
let cluster: TestCluster;
let network: BalancerNetwork | null = null;
let people: Person[];
const ports = new Map<string, number>();
const numbers = new Map<string, string>();
const dead = new Set<TestNode>();

beforeAll(async () => {
  gateway = await TextGateway.start();
  if (canMakeMachines) network = await BalancerNetwork.make();
  const free = await takeFreePorts(6);
  cluster = await TestCluster.start({
    configure: (config, name) => {
      const [authenticationPort, accountingPort] = [free.pop()!, free.pop()!];
      ports.set(name, authenticationPort);
      const host = ['127.0.0.1', ...(network ? [network.nodesAddress] : [])];
      const texts = { gateways: [gateway.host] };
      return { ...config, texts, radius: { host, authenticationPort, accountingPort } };
    },
  });
  const api = cluster.api(await cluster.master());
  const providers = JSON.stringify([gateway.provider]);
  await api.done('PATCH', '/api/v1/settings', { 'text.providers': providers });
  people = await enrolPeople(api, 'failed-over', 12);
  for (const [index, { username }] of people.entries()) {
    const number = `+316100002${String(index).padStart(2, '0')}`;
    numbers.set(username, number);
    const phone = { type: 'phone', number, use: 'primary' };
    await api.done('POST', `/api/v1/users/${username}/authenticators`, phone);
  }
  await api.done('POST', '/api/v1/applications', { name: 'vpn' });
  const [first = '192.0.2.11', second = '192.0.2.12'] = network?.deviceAddresses ?? [];
  const clients = [
    { name: 'proxy', addresses: [PROXY] },
    { name: 'list', addresses: [LIST] },
    { name: 'balancer', addresses: [BALANCER], isBalancer: true },
    { name: 'device-1', addresses: [first] },
    { name: 'device-2', addresses: [second], secret: OTHER_SECRET },
  ];
  for (const client of clients) {
    await api.done('POST', '/api/v1/radius/clients', {
      secret: SECRET,
      application: 'vpn',
      firstFactor: { kind: 'none' },
      ...client,
    });
  }
  await cluster.untilWhole();
  await untilServed();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await network?.[Symbol.asyncDispose]();
  await gateway?.[Symbol.asyncDispose]();
});

beforeEach(bringBack);

describe('three nodes in the list of one client', () => {
  it.skipIf(!hasFreeradius)(
    'a node killed before a FreeRADIUS proxy has its accept: the next gives the same one (needs freeradius)',
    async () => {
      const person = people.pop()!;
      const code = person.nextCode();
      await using relays = await relaysTo(cluster.nodes, PROXY);
      await using proxy = await startProxy(relays);
      const struck = strikeOnAnswer(relays);
      const startedAt = performance.now();
      const told = radclient(proxy, `User-Name="${person.username}",User-Password="${code}"`);
      await struck;
      // It gives a server up only when another sign-in has waited for it in vain.
      await radclient(proxy, 'User-Name="other",User-Password="0",Packet-Src-IP-Address=127.0.0.9');
      expect(await told).toContain('Received Access-Accept');
      report('a FreeRADIUS proxy beside a killed node', tookSince(startedAt));
      expect(relays.filter(({ requests }) => requests.length > 0).length).toBeGreaterThan(1);
      await bringBack();
      await expectOneApproval(person, { code, wasKilled: true });
    },
  );

  it('a node killed before the client has its question: no second text is sent, and its code is good once', async () => {
    const person = people.pop()!;
    const [one, ...others] = cluster.nodes as [TestNode, ...TestNode[]];
    await using relays = await relaysTo([...others, one], LIST);
    await using client = new RadiusClient({
      servers: relays.map(({ port, node }) => ({
        name: node.name,
        host: '127.0.0.1',
        port,
        secret: Buffer.from(SECRET),
        messageAuthenticator: 'require',
      })),
    });
    const attributes = [
      makeAttribute('User-Name', person.username),
      makeAttribute('NAS-Identifier', 'gate'),
      makeAttribute('Calling-Station-Id', 'laptop'),
    ];
    const struck = strikeOnAnswer(relays);
    const startedAt = performance.now();
    const { accessRequest: code, accessChallenge, accessAccept } = packetCodes;
    const asked = await client.send({ code, attributes, password: Buffer.from('text') });
    report('a client with a list beside a killed node', tookSince(startedAt));
    const { name } = await struck;
    expect(asked).toMatchObject({ kind: 'answered', code: accessChallenge });
    if (asked.kind !== 'answered') return;
    expect(asked.server).not.toBe(name);
    const state = makeAttribute('State', findValue(asked.attributes, 'State')!);
    const sent = gateway.received.filter(({ to }) => to === numbers.get(person.username));
    expect(sent).toHaveLength(1);
    const typed = gateway.codeFor(numbers.get(person.username)!)!;
    const answer = { code, attributes: [...attributes, state], password: Buffer.from(typed) };
    expect(await client.send(answer)).toMatchObject({ kind: 'answered', code: accessAccept });
    await bringBack();
    await expectOneApproval(person, { wasKilled: true });
  });
});

describe.skipIf(!hasNginxStream)('nginx before the nodes (needs libnginx-mod-stream)', () => {
  const device = '127.0.0.31';

  it('a sign-in sent again lands on other nodes: each gives the accept, and it is one sign-in', async () => {
    const person = people.pop()!;
    await using relays = await relaysTo(cluster.nodes, BALANCER);
    await using balancer = await startBalancer(relays);
    await using vpn = await RadiusDevice.open({ to: balancer.at, from: device, secret: SECRET });
    const code = person.nextCode();
    const request = vpn.signIn(person.username, code, named('vpn-1'));
    for (let count = 0; count < cluster.nodes.length; count += 1) vpn.send(request);
    const answers = await vpn.untilAnswered(request, cluster.nodes.length);
    expect(answers.map(({ kind }) => kind)).toEqual(['accept', 'accept', 'accept']);
    expect(relays.map(({ requests }) => requests.length)).toEqual([1, 1, 1]);
    await expectOneApproval(person, { code });
  });

  it('a node killed before the device has its accept: the next gives the same one', async () => {
    const person = people.pop()!;
    await using relays = await relaysTo(cluster.nodes, BALANCER);
    await using balancer = await startBalancer(relays);
    await using vpn = await RadiusDevice.open({ to: balancer.at, from: device, secret: SECRET });
    const code = person.nextCode();
    const request = vpn.signIn(person.username, code, named('vpn-1'));
    const struck = strikeOnAnswer(relays);
    const startedAt = performance.now();
    expect(await vpn.ask(request)).toMatchObject({ kind: 'accept' });
    report('a device behind nginx beside a killed node', tookSince(startedAt));
    await struck;
    await bringBack();
    await expectOneApproval(person, { code, wasKilled: true });
  });

  it('devices behind one address are told apart by what they are named, and nameless ones are dropped', async () => {
    const person = people.pop()!;
    await using relays = await relaysTo(cluster.nodes, BALANCER);
    await using balancer = await startBalancer(relays);
    const way = { to: balancer.at, secret: SECRET };
    await using one = await RadiusDevice.open({ ...way, from: device });
    await using two = await RadiusDevice.open({ ...way, from: '127.0.0.32' });
    const dropped = await refusedOf('balancer', 'nas_missing');
    const code = person.nextCode();
    const nameless = one.signIn(person.username, code);
    one.send(nameless);
    await expect.poll(() => refusedOf('balancer', 'nas_missing'), soon).toBe(dropped + 1);
    expect(one.answersTo(nameless)).toEqual([]);

    // The same name and code at the same moment: one person may get in, at one of them.
    const requests = [
      one.signIn(person.username, code, named('vpn-1')),
      two.signIn(person.username, code, named('vpn-2')),
    ] as const;
    const answers = await Promise.all([one.ask(requests[0]), two.ask(requests[1])]);
    expect(answers.map(({ kind }) => kind).toSorted()).toEqual(['accept', 'reject']);
    await expectOneApproval(person, { code });
  });

  it('what is dropped takes no node out of service', async () => {
    const person = people.pop()!;
    await using relays = await relaysTo(cluster.nodes, BALANCER);
    await using balancer = await startBalancer(relays, { timeoutSeconds: 5 });
    const way = { to: balancer.at, from: device };
    await using forger = await RadiusDevice.open({ ...way, secret: 'guessed' });
    await using vpn = await RadiusDevice.open({ ...way, secret: SECRET });
    const reason = 'message_authenticator_invalid';
    const dropped = await refusedOf('balancer', reason);
    for (let count = 0; count < 30; count += 1) {
      forger.send(forger.signIn(person.username, '000000', named('vpn-1')));
    }
    await expect.poll(() => refusedOf('balancer', reason), soon).toBe(dropped + 30);
    // Only now has nginx given them up.
    await waitFor('the end of 30 sessions', async () => (await balancer.unanswered()) === 30, {
      timeoutMs: 20_000,
    });
    const code = person.nextCode();
    for (let count = 0; count < cluster.nodes.length; count += 1) {
      const request = vpn.signIn(person.username, code, named('vpn-1'));
      vpn.send(request);
      expect(await vpn.untilAnswered(request)).toMatchObject([{ kind: 'accept' }]);
    }
    await expectOneApproval(person, { code });
  });
});

describe.skipIf(!hasNginxStream || !canMakeMachines)(
  'nginx that sends from the address of each device (needs libnginx-mod-stream, iproute2, root)',
  () => {
    it('devices are clients of their own, each with its own secret', async () => {
      await using balancer = await startTransparentBalancer();
      await using one = await deviceAt(balancer, 0, SECRET);
      await using two = await deviceAt(balancer, 1, OTHER_SECRET);
      await using forger = await deviceAt(balancer, 1, SECRET);
      const asked = [
        { device: one, name: 'device-1', person: people.pop()! },
        { device: two, name: 'device-2', person: people.pop()! },
      ];
      for (const { device, name, person } of asked) {
        const request = device.signIn(person.username, person.nextCode());
        expect(await device.ask(request)).toMatchObject({ kind: 'accept' });
        const [event] = await untilEvents(person, 1);
        const clientAddress = network!.deviceAddresses[asked.findIndex((a) => a.name === name)];
        expect(event).toMatchObject({ actor: name, clientAddress, result: 'approved' });
      }
      const reason = 'message_authenticator_invalid';
      const dropped = await refusedOf('device-2', reason);
      const forged = forger.signIn(asked[0]!.person.username, asked[0]!.person.nextCode());
      forger.send(forged);
      await expect.poll(() => refusedOf('device-2', reason), soon).toBe(dropped + 1);
      expect(forger.answersTo(forged)).toEqual([]);
    });

    it('a sign-in sent again lands on other nodes, with one of them killed: one sign-in, the same accept', async () => {
      const person = people.pop()!;
      await using balancer = await startTransparentBalancer();
      await using vpn = await deviceAt(balancer, 0, SECRET);
      const code = person.nextCode();
      const request = vpn.signIn(person.username, code);
      vpn.send(request);
      vpn.send(request);
      await vpn.untilAnswered(request, 2);
      const servedBy = await balancer.nodesOf(2);
      expect(new Set(servedBy).size).toBe(2);
      // What it has heard counts as lost.
      await kill(servedBy[0]!);
      const answers = await vpn.askUntil(request, 4);
      expect(answers.map(({ kind }) => kind)).toEqual(['accept', 'accept', 'accept', 'accept']);
      await expectOneApproval(person, { code, wasKilled: true });
    });
  },
);

type NodeRelay = UdpRelay & { node: TestNode };

/** A relay to each node, through which requests come from the address `as`. */
async function relaysTo(
  nodes: TestNode[],
  as: string,
): Promise<NodeRelay[] & { [Symbol.asyncDispose](): Promise<void> }> {
  const relays = await Promise.all(
    nodes.map(async (node) =>
      Object.assign(await UdpRelay.start(ports.get(node.name)!, { as }), { node }),
    ),
  );
  const close = async () => {
    for (const relay of relays) await relay[Symbol.asyncDispose]();
  };
  return Object.assign(relays, { [Symbol.asyncDispose]: close });
}

/** The first answer of any node gets lost, and the node dies. Resolves with it. */
async function strikeOnAnswer(relays: NodeRelay[]): Promise<TestNode> {
  const struck = await Promise.race(
    relays.map(async (relay) => {
      await relay.loseAnswers();
      return relay;
    }),
  );
  for (const relay of relays) if (relay !== struck) relay.heal();
  await kill(struck.node);
  return struck.node;
}

async function kill(node: TestNode): Promise<void> {
  dead.add(node);
  await node.killAll();
}

function living(): TestNode[] {
  return cluster.nodes.filter((node) => !dead.has(node));
}

async function bringBack(): Promise<void> {
  for (const node of dead) {
    node.start();
    await node.untilReady();
    dead.delete(node);
  }
  await cluster.untilWhole();
}

/** FreeRADIUS with the nodes as home servers, each the next one's fall-back. */
async function startProxy(relays: NodeRelay[]) {
  const [port = 0, ...nextPorts] = relays.map((relay) => relay.port);
  const [accountingPort = 0] = await takeFreePorts(1);
  const to = { port, nextPorts, accountingPort, secret: SECRET };
  const proxy = await startTestFreeradius({ role: 'proxy', to });
  return Object.assign(proxy, { [Symbol.asyncDispose]: proxy.stop });
}

/** Sent again every second until it is answered. */
function radclient({ port, secret }: TestFreeradius, attributes: string): Promise<string> {
  return runTool({
    command: 'radclient',
    args: ['-x', '-r', '14', '-t', '1', `127.0.0.1:${port}`, 'auth', secret],
    input: `${attributes},NAS-Identifier="gate"`,
  });
}

/** nginx with an address of its own towards the nodes. */
async function startBalancer(relays: NodeRelay[], { timeoutSeconds = 20 } = {}) {
  const [port = 0] = await takeFreePorts(1);
  const nginx = await startTestNginx({
    listen: `127.0.0.1:${port}`,
    servers: relays.map((relay) => `127.0.0.1:${relay.port}`),
    bind: '127.0.0.1',
    timeoutSeconds,
  });
  return {
    at: { address: '127.0.0.1', port },
    unanswered: async () => (await nginx.log()).split(', 0 bytes back').length - 1,
    [Symbol.asyncDispose]: nginx.stop,
  };
}

/** nginx that asks the nodes from the address of whoever asks it. */
async function startTransparentBalancer() {
  const { balancer, nodesAddress, balancerAddress: address } = network!;
  const nginx = await startTestNginx({
    listen: `${address}:1812`,
    servers: cluster.nodes.map(({ name }) => `${nodesAddress}:${ports.get(name)}`),
    bind: '$remote_addr transparent',
    namespace: balancer.networkFile,
  });
  const nodeAt = (place: string) =>
    cluster.nodes.find(({ name }) => place === `${nodesAddress}:${ports.get(name)}`)!;
  return {
    at: { address, port: 1812 },
    /** The nodes that the first sessions were with. */
    nodesOf: (count: number) =>
      waitFor(
        `${count} sessions of nginx`,
        async () => {
          const places = [...(await nginx.log()).matchAll(/ to ([\d.:]+), [1-9]/g)];
          return places.length >= count ? places.map(([, place]) => nodeAt(place!)) : null;
        },
        { timeoutMs: 15_000 },
      ),
    [Symbol.asyncDispose]: nginx.stop,
  };
}

async function deviceAt(
  { at: to }: { at: { address: string; port: number } },
  place: 0 | 1,
  secret: string,
): Promise<RadiusDevice> {
  const { devices, deviceAddresses } = network!;
  return RadiusDevice.open({ to, from: deviceAddresses[place], secret, machine: devices });
}

function named(name: string) {
  return [makeAttribute('NAS-Identifier', name)];
}

/** New clients are in force on a node half a second after their settings are. */
async function untilServed(): Promise<void> {
  for (const node of cluster.nodes) {
    await using device = await deviceOfList(node);
    await device.ask(device.status());
  }
}

function deviceOfList(node: TestNode): Promise<RadiusDevice> {
  const to = { address: '127.0.0.1', port: ports.get(node.name)! };
  return RadiusDevice.open({ to, from: LIST, secret: SECRET });
}

type Event = {
  result: string;
  reason: string | null;
  actor: string;
  clientAddress: string;
  details: { verification: string; repeated?: boolean };
};

/** The verifications of one person, once there are that many. */
async function untilEvents(
  { username }: Person,
  count: number,
  areThere: (events: Event[]) => boolean = () => true,
): Promise<Event[]> {
  const api = cluster.api(living()[0]!);
  const path = `/api/v1/events?user=${username}&type=verification&limit=100`;
  return waitFor(
    `${count} events of ${username}`,
    async () => {
      const { events } = await api.done<{ events: Event[] }>('GET', path);
      return events.length >= count && areThere(events) ? events : null;
    },
    { timeoutMs: 20_000, everyMs: 100 },
  );
}

/**
 * Of all that was sent one sign-in was made; its code is denied on every node from another place. The event of a node
 * whose PostgreSQL was killed in that moment may be lost (commits are asynchronous); the same verdict told again is not.
 */
async function expectOneApproval(
  person: Person,
  { code, wasKilled = false }: { code?: string; wasKilled?: boolean } = {},
): Promise<void> {
  await untilEvents(person, 1);
  let deniedHere = 0;
  if (code !== undefined) {
    for (const node of living()) {
      await using device = await deviceOfList(node);
      const request = device.signIn(person.username, code, named('elsewhere'));
      expect(await device.ask(request)).toMatchObject({ kind: 'reject' });
      deniedHere += 1;
    }
  }
  // Nodes tell of them in any order.
  const events = await untilEvents(person, 1, (all) => {
    const isMadeTold = all.some(
      ({ result, details }) => result === 'approved' && !details.repeated,
    );
    const count = all.filter(({ result }) => result === 'denied').length;
    return count >= deniedHere && (wasKilled || isMadeTold);
  });
  const approved = events.filter(({ result }) => result === 'approved');
  // What was told again is the same verification, and says so.
  expect(new Set(approved.map(({ details }) => details.verification)).size).toBe(1);
  const first = approved.filter(({ details }) => !details.repeated);
  if (wasKilled) expect(first.length).toBeLessThanOrEqual(1);
  else expect(first).toHaveLength(1);
  const denied = events.filter(({ result }) => result === 'denied');
  expect(denied.filter(({ reason }) => reason !== 'replayed')).toEqual([]);
}

/** What all nodes have dropped of a client for a reason. */
async function refusedOf(client: string, reason: string): Promise<number> {
  let total = 0;
  for (const { url } of cluster.nodes) {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    const line = new RegExp(`refused_total\\{client="${client}",reason="${reason}".*\\} (\\d+)`);
    total += Number(line.exec(metrics)?.[1] ?? 0);
  }
  return total;
}

function tookSince(startedAt: number): { tookMs: number } {
  return { tookMs: Math.round(performance.now() - startedAt) };
}
