import { createSocket } from 'node:dgram';
import { once } from 'node:events';

import { describe, expect, it } from 'vitest';

import { takeFreePorts, waitFor } from '@countersign/testing';

import { findText, findValues, makeAttribute } from './attribute-values.ts';
import { signReply } from './authenticators.ts';
import { type ClientBounds, RadiusClient, type TargetServer } from './radius-client.ts';
import { decodePacket, type Packet } from './radius-packet.ts';
import { RadiusServer, type Reply, type ServerOptions } from './radius-server.ts';

const secret = Buffer.from('target secret');
// Long enough that a busy machine answers in time.
const quick: Partial<ClientBounds> = { firstWaitMs: 250, longestWaitMs: 250, probeEveryMs: 30 };
const alice = { code: 1, attributes: [makeAttribute('User-Name', 'alice')] };
const accept: Reply = { code: 2, attributes: [] };

describe('a request', () => {
  it('is answered with the attributes of the server, and its Proxy-States come back in order', async () => {
    await using server = await startServer({
      handle: async ({ password }) => ({
        code: password?.toString() === 'pässword' ? 2 : 3,
        attributes: [makeAttribute('Class', 'vpn')],
      }),
    });
    await using client = makeClient([server]);
    const attributes = ['one', 'two'].map((text) => makeAttribute('Proxy-State', text));
    const password = Buffer.from('pässword');
    const result = await client.send({ code: 1, attributes, password });
    expect(result).toMatchObject({ kind: 'answered', server: 'server-1', code: 2 });
    if (result.kind !== 'answered') return;
    expect(findValues(result.attributes, 'Class').map(String)).toEqual(['vpn']);
    expect(findValues(result.attributes, 'Proxy-State').map(String)).toEqual(['one', 'two']);
  });

  it('comes from a port that the client names, and the server may tell clients by', async () => {
    const ports: number[] = [];
    await using server = await startServer({
      findClient: (_address, port) => {
        ports.push(port);
        return null;
      },
    });
    await using client = makeClient([server]);
    expect(client.localPorts()).toEqual([]);
    const ended = expect(client.send(alice)).rejects.toThrow('closed');
    await waitFor('the request', () => ports.length > 0, { timeoutMs: 5_000 });
    expect(client.localPorts()).toEqual([ports[0]]);
    await client.close();
    await ended;
    expect(client.localPorts()).toEqual([]);
  });

  it('is sent again with the same bytes until an answer comes', async () => {
    const seen: Buffer[] = [];
    await using server = await openFake((packet, reply) => {
      seen.push(packet.bytes);
      if (seen.length === 3) reply(signed(packet));
    });
    // The third answer is waited for 3 s.
    await using client = makeClient([server], { firstWaitMs: 800, longestWaitMs: 10_000 });
    expect(await client.send(alice)).toMatchObject({ kind: 'answered', code: 2 });
    expect(seen).toHaveLength(3);
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
  });

  it('that nobody answers ends at its own deadline', async () => {
    await using server = await openFake(() => undefined);
    await using client = makeClient([server], { firstWaitMs: 10_000 });
    const startedAt = performance.now();
    const result = await client.send(alice, { timeoutMs: 50 });
    expect(result).toEqual({ kind: 'unanswered', tried: ['server-1'], mayBeHeard: true });
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  it('that meets "nobody listens there" every time was heard by nobody', async () => {
    const [first = 0, second = 0] = await takeFreePorts(2);
    const ports = [first, second].map((port) => ({ name: `server-${port}`, port }));
    await using client = makeClient(ports, { firstWaitMs: 50, longestWaitMs: 50 });
    expect(await client.send(alice)).toEqual({
      kind: 'unanswered',
      tried: ports.map(({ name }) => name),
      mayBeHeard: false,
    });
    await using silent = await openFake(() => undefined);
    await using other = makeClient([silent, ...ports], { firstWaitMs: 50, longestWaitMs: 50 });
    expect(await other.send(alice)).toMatchObject({ kind: 'unanswered', mayBeHeard: true });
  });

  it('ends when aborted, or when the client closes', async () => {
    let received = 0;
    await using server = await openFake(() => {
      received += 1;
    });
    const client = makeClient([server], { firstWaitMs: 10_000 });
    const abort = new AbortController();
    const aborted = client.send(alice, { signal: abort.signal });
    const closed = client.send(alice);
    const both = Promise.allSettled([aborted, closed]);
    await waitFor('both', () => received === 2, { timeoutMs: 5_000 });
    abort.abort(new Error('the user gave up'));
    await client.close();
    expect(
      (await both).map((one) => (one.status === 'rejected' ? String(one.reason) : '')),
    ).toEqual(['Error: the user gave up', 'RadiusError: the RADIUS client is closed']);
    await expect(client.send(alice)).rejects.toThrow('closed');
  });

  it('rejects a password of more than 128 bytes, and leaves its identifier free', async () => {
    await using server = await startServer({});
    await using client = makeClient([server], { socketsPerServer: 1 });
    for (let count = 0; count < 300; count += 1) {
      await expect(client.send({ ...alice, password: Buffer.alloc(129) })).rejects.toThrow('128');
    }
    expect(await client.send(alice)).toMatchObject({ kind: 'answered' });
  });

  it('beyond 256 for each socket is busy, and the others are all answered', async () => {
    const gate = Promise.withResolvers<Reply>();
    await using server = await startServer({ handle: () => gate.promise });
    await using client = makeClient([server], { socketsPerServer: 2, firstWaitMs: 10_000 });
    const sent = Array.from({ length: 512 }, () => client.send(alice));
    expect(await client.send(alice)).toEqual({ kind: 'busy' });
    gate.resolve(accept);
    const kinds = (await Promise.all(sent)).map(({ kind }) => kind);
    expect(new Set(kinds)).toEqual(new Set(['answered']));
  });
});

describe('a reply', () => {
  it.each([
    ['without Message-Authenticator', unsigned, 'message_authenticator_missing'],
    ['with a forged Message-Authenticator', forged, 'message_authenticator_invalid'],
    ['with another secret', withSecret('another'), 'response_authenticator_invalid'],
    ['of an accounting server', withCode(5), 'unexpected_code'],
    ['cut short', (packet: Packet) => signed(packet).subarray(0, 30), 'malformed'],
  ] as const)('%s is not believed, and the right one after it is', async (_what, make, reason) => {
    const refused: unknown[] = [];
    await using server = await openFake((packet, reply) => {
      reply(make(packet));
      reply(make(packet));
      reply(signed(packet, 3));
    });
    await using client = makeClient(
      [server],
      {},
      { onRefused: (refusal) => refused.push(refusal) },
    );
    expect(await client.send(alice)).toMatchObject({ kind: 'answered', code: 3 });
    expect(refused).toEqual([{ source: 'server-1', isKnown: true, reason, count: 1 }]);
  });

  it('without Message-Authenticator is believed where that is off', async () => {
    await using server = await openFake((packet, reply) => reply(unsigned(packet)));
    await using client = makeClient([{ ...server, messageAuthenticator: 'off' }]);
    expect(await client.send(alice)).toMatchObject({ kind: 'answered', code: 2 });
  });

  it('from another address is not taken, even with the right secret', async () => {
    await using impostor = createSocket('udp4');
    impostor.bind(0, '127.0.0.1');
    await once(impostor, 'listening');
    await using server = await openFake((packet, reply, from) => {
      impostor.send(signed(packet), from, '127.0.0.1', () => reply(signed(packet, 3)));
    });
    await using client = makeClient([server]);
    expect(await client.send(alice)).toMatchObject({ kind: 'answered', code: 3 });
  });
});

describe('servers in order', () => {
  it('one that is silent is dead after two requests and then skipped, until Status-Server revives it', async () => {
    let isSilent = true;
    let asked = 0;
    await using first = await openFake((packet, reply) => {
      if (packet.code === 1) asked += 1;
      if (!isSilent) reply(signed(packet));
    });
    await using second = await startServer({ name: 'server-2' });
    const states: string[] = [];
    await using client = makeClient(
      [first, second],
      {},
      { onServerState: (server, state) => states.push(`${server} ${state}`) },
    );
    for (let count = 0; count < 5; count += 1) {
      expect(await client.send(alice)).toMatchObject({ kind: 'answered', server: 'server-2' });
    }
    // Two requests of three packets each.
    expect(asked).toBe(6);
    expect(states).toEqual(['server-1 dead']);
    isSilent = false;
    await waitFor('the revival', () => states.at(-1) === 'server-1 alive', { timeoutMs: 5_000 });
    expect(await client.send(alice)).toMatchObject({ server: 'server-1' });
  });

  it('one that answers others is not dead for staying silent about one user', async () => {
    await using first = await openFake((packet, reply) => {
      if (findText(packet.attributes, 'User-Name') === 'alice') reply(signed(packet));
    });
    await using second = await startServer({ name: 'server-2' });
    await using client = makeClient([first, second]);
    const mallory = { code: 1, attributes: [makeAttribute('User-Name', 'mallory')] };
    const silent = Array.from({ length: 5 }, () => client.send(mallory));
    expect(await client.send(alice)).toMatchObject({ server: 'server-1' });
    for (const result of await Promise.all(silent)) {
      expect(result).toMatchObject({ server: 'server-2' });
    }
    expect(client.servers().map(({ isDead }) => isDead)).toEqual([false, false]);
  });

  it('where nobody listens at the first, the next is asked at once', async () => {
    const [port = 0] = await takeFreePorts(1);
    await using second = await startServer({ name: 'server-2' });
    await using client = makeClient([{ port, name: 'server-1' }, second], { firstWaitMs: 10_000 });
    const startedAt = performance.now();
    expect(await client.send(alice)).toMatchObject({ kind: 'answered', server: 'server-2' });
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  it('a server that restarts is still reached when there is no other', async () => {
    const [port = 0] = await takeFreePorts(1);
    await using client = makeClient([{ port, name: 'server-1' }], { triesPerServer: 1_000 });
    const sent = client.send(alice, { timeoutMs: 10_000 });
    await using server = await startServer({ port });
    expect(await sent).toMatchObject({ kind: 'answered', server: server.name });
  });

  it('a dead one that knows no Status-Server is tried by one packet of a request now and then', async () => {
    let asked = 0;
    await using first = await openFake((packet) => {
      if (packet.code === 1) asked += 1;
    });
    await using second = await startServer({ name: 'server-2' });
    await using client = makeClient([first, second], { deadAfter: 1, deadMs: 1 });
    const counts: number[] = [];
    for (let count = 0; count < 3; count += 1) {
      expect(await client.send(alice)).toMatchObject({ server: 'server-2' });
      counts.push(asked);
      const since = performance.now();
      await waitFor('its time', () => performance.now() - since > 2, { timeoutMs: 5_000 });
    }
    expect(counts).toEqual([3, 4, 5]);
  });

  it('all dead are asked all the same', async () => {
    let isSilent = true;
    await using first = await openFake((packet, reply) => {
      if (!isSilent) reply(signed(packet));
    });
    await using client = makeClient([first], { deadAfter: 1, probeEveryMs: 1e6 });
    expect(await client.send(alice)).toMatchObject({ kind: 'unanswered' });
    expect(client.servers()).toEqual([{ name: 'server-1', isDead: true }]);
    isSilent = false;
    expect(await client.send(alice)).toMatchObject({ kind: 'answered' });
    expect(client.servers()).toEqual([{ name: 'server-1', isDead: false }]);
  });

  it('the preferred one goes first, for the State it gave', async () => {
    await using first = await startServer({});
    await using second = await startServer({ name: 'server-2' });
    await using client = makeClient([first, second]);
    expect(await client.send(alice, { preferServer: 'server-2' })).toMatchObject({
      server: 'server-2',
    });
  });
});

interface Address {
  name: string;
  port: number;
  messageAuthenticator?: 'require' | 'off';
}

function makeClient(
  servers: readonly Address[],
  bounds: Partial<ClientBounds> = {},
  options: Partial<ConstructorParameters<typeof RadiusClient>[0]> = {},
): RadiusClient {
  const targets: TargetServer[] = servers.map(
    ({ name, port, messageAuthenticator = 'require' }) => {
      return { name, host: '127.0.0.1', port, secret, messageAuthenticator };
    },
  );
  return new RadiusClient({ ...options, servers: targets, bounds: { ...quick, ...bounds } });
}

async function startServer(given: {
  name?: string;
  port?: number;
  handle?: ServerOptions['handle'];
  findClient?: ServerOptions['findClient'];
}): Promise<Address & AsyncDisposable> {
  const server = await RadiusServer.start({
    listen: [{ address: '127.0.0.1', port: given.port ?? 0, service: 'authentication' }],
    findClient:
      given.findClient ??
      (() => ({ name: 'countersign', secret, messageAuthenticator: 'require' })),
    handle: given.handle ?? (async () => accept),
  });
  const [port = 0] = server.ports;
  const close = () => server.close({ timeoutMs: 0 });
  return { name: given.name ?? 'server-1', port, [Symbol.asyncDispose]: close };
}

/** A socket that answers as the test says, right or wrong. */
async function openFake(
  onRequest: (packet: Packet, reply: (bytes: Buffer) => void, from: number) => void,
): Promise<Address & AsyncDisposable> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  socket.on('message', (datagram, { port }) => {
    const decoded = decodePacket(datagram);
    if ('malformation' in decoded) throw new Error(decoded.malformation);
    onRequest(decoded.packet, (bytes) => socket.send(bytes, port, '127.0.0.1'), port);
  });
  const { port } = socket.address();
  const close = async () => {
    socket.close();
    await once(socket, 'close');
  };
  return { name: 'server-1', port, [Symbol.asyncDispose]: close };
}

function signed(packet: Packet, code = 2): Buffer {
  const options = { secret, withMessageAuthenticator: true };
  return signReply({ code, attributes: [] }, packet, options);
}

function unsigned(packet: Packet): Buffer {
  const options = { secret, withMessageAuthenticator: false };
  return signReply({ code: 2, attributes: [] }, packet, options);
}

// The response authenticator is right, as a collision of MD5 would make it (CVE-2024-3596).
function forged(packet: Packet): Buffer {
  const attributes = [{ type: 80, value: Buffer.alloc(16, 1) }];
  const bytes = signReply({ code: 2, attributes }, packet, {
    secret,
    withMessageAuthenticator: false,
  });
  expect([...bytes.subarray(20, 22)]).toEqual([80, 18]);
  return bytes;
}

function withSecret(text: string) {
  return (packet: Packet) => {
    const options = { secret: Buffer.from(text), withMessageAuthenticator: true };
    return signReply({ code: 2, attributes: [] }, packet, options);
  };
}

function withCode(code: number) {
  return (packet: Packet) => signed(packet, code);
}
