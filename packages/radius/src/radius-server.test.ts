import { randomBytes } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { waitFor } from '@countersign/testing';

import { findText, findValues, makeAttribute } from './attribute-values.ts';
import { signRequest } from './authenticators.ts';
import { checkReply } from './check-reply.ts';
import { hideUserPassword } from './hidden-attributes.ts';
import type { Attribute, Packet } from './radius-packet.ts';
import {
  RadiusServer,
  type Reply,
  type SeenDatagram,
  type ServerBounds,
  type ServerClient,
  type ServerOptions,
  type ServerRefusal,
  type ServerRequest,
} from './radius-server.ts';
import { makeOriginals, makeRandom, mutate } from './testing/fuzz-packets.ts';
import { canForge, sendForged } from './testing/send-forged.ts';
import { openUdpPeer, type UdpPeer } from './testing/udp-peer.ts';

const secret = Buffer.from('shared secret');
const accept: Reply = { code: 2, attributes: [] };

describe('an Access-Request', () => {
  it('reaches the handler with its password, and the reply has Message-Authenticator first and the Proxy-States in order', async () => {
    const requests: ServerRequest[] = [];
    await using trial = await start({
      handle: async (request) => {
        requests.push(request);
        const strange = makeAttribute('Proxy-State', Buffer.from('of the handler'));
        return { code: 2, attributes: [makeAttribute('Reply-Message', 'hello'), strange] };
      },
    });
    const proxyStates = ['one', 'two', ''].map((text) => ({ type: 33, value: Buffer.from(text) }));
    const [first, second, third] = proxyStates as [Attribute, Attribute, Attribute];
    const sent = trial.ask({
      password: Buffer.from([0xff, 0xfe, 0x41]),
      attributes: [first, makeAttribute('User-Name', 'alice'), second, third],
    });
    const reply = await trial.reply(sent);
    expect(reply.code).toBe(2);
    expect(reply.attributes.map(({ type }) => type)).toEqual([80, 18, 33, 33, 33]);
    expect(findValues(reply.attributes, 'Proxy-State').map(String)).toEqual(['one', 'two', '']);
    const [request] = requests;
    expect(request?.password).toEqual(Buffer.from([0xff, 0xfe, 0x41]));
    expect(request?.from).toEqual({ address: '127.0.0.1', port: trial.peer.port });
  });

  it('sent again while pending is silence, then both get one answer of one handling, and later ones that answer', async () => {
    const gate = Promise.withResolvers<Reply>();
    let handled = 0;
    await using trial = await start({
      handle: () => {
        handled += 1;
        return gate.promise;
      },
    });
    const sent = trial.ask({});
    trial.peer.send(sent);
    trial.peer.send(sent);
    await waitFor('the duplicates', () => trial.server.counts().duplicates === 2, {
      timeoutMs: 5_000,
    });
    expect(trial.peer.received).toHaveLength(0);
    gate.resolve(accept);
    await trial.peer.untilReceived(1);
    trial.peer.send(sent);
    const [first, second] = await trial.peer.untilReceived(2);
    expect(second).toEqual(first);
    expect(handled).toBe(1);
  });

  it('in the place of another aborts that, and the answer goes to the new one alone', async () => {
    const aborted: unknown[] = [];
    const gates: PromiseWithResolvers<Reply>[] = [];
    await using trial = await start({
      handle: (_request, { signal }) => {
        signal.addEventListener('abort', () => aborted.push(signal.reason));
        const gate = Promise.withResolvers<Reply>();
        gates.push(gate);
        return gate.promise;
      },
    });
    trial.ask({ identifier: 7 });
    const sent = trial.ask({ identifier: 7 });
    await waitFor('both', () => gates.length === 2, { timeoutMs: 5_000 });
    expect(aborted).toHaveLength(1);
    gates[0]?.resolve({ code: 3, attributes: [] });
    gates[1]?.resolve(accept);
    expect((await trial.reply(sent)).code).toBe(2);
    expect(trial.peer.received).toHaveLength(1);
    expect(trial.server.counts().pending).toBe(0);
  });

  it('with the same authenticator but another user never gets the answer of the first', async () => {
    await using trial = await start({
      handle: async ({ attributes }) => ({
        code: findText(attributes, 'User-Name') === 'alice' ? 2 : 3,
        attributes: [],
      }),
    });
    const authenticator = Buffer.alloc(16, 1);
    const same = { identifier: 7, authenticator };
    const alice = trial.ask({ ...same, attributes: [makeAttribute('User-Name', 'alice')] });
    expect((await trial.reply(alice)).code).toBe(2);
    const mallory = trial.ask({ ...same, attributes: [makeAttribute('User-Name', 'mallory')] });
    await trial.peer.untilReceived(2);
    expect((await trial.reply(mallory, 1)).code).toBe(3);
  });

  it('is handled again after the kept reply has gone', async () => {
    let handled = 0;
    await using trial = await start({
      handle: async () => {
        handled += 1;
        return accept;
      },
      bounds: { maxKeptReplies: 1 },
    });
    const first = trial.ask({ identifier: 1 });
    await trial.peer.untilReceived(1);
    trial.ask({ identifier: 2 });
    await trial.peer.untilReceived(2);
    expect(trial.server.counts().keptReplies).toBe(1);
    trial.peer.send(first);
    await trial.peer.untilReceived(3);
    expect(handled).toBe(3);
  });

  it('that the handler drops or fails at goes unanswered, and is handled when sent again', async () => {
    const outcomes: (() => Promise<Reply | 'drop'>)[] = [
      async () => 'drop',
      () => Promise.reject(new Error('the directory is away')),
      async () => accept,
    ];
    const errors: unknown[] = [];
    await using trial = await start({
      handle: () => outcomes.shift()?.() ?? Promise.resolve(accept),
      onError: (error) => errors.push(error),
    });
    const sent = trial.ask({});
    await trial.untilIdle(1);
    trial.peer.send(sent);
    await trial.untilRefused('handler_failed');
    trial.peer.send(sent);
    expect((await trial.reply(sent)).code).toBe(2);
    expect(errors.map(String)).toEqual(['Error: the directory is away']);
  });

  it('whose handler is late is aborted and goes unanswered', async () => {
    let reason: unknown;
    await using trial = await start({
      handle: (_request, { signal }) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            reason = signal.reason;
            resolve(accept);
          });
        }),
      bounds: { handleTimeoutMs: 20 },
    });
    trial.ask({});
    await trial.untilRefused('handler_timed_out');
    await trial.untilIdle(1);
    expect(String(reason)).toContain('no answer within 20 ms');
    await trial.expectSilenceThenService();
  });

  it('whose reply is too long is counted and goes unanswered', async () => {
    const long = Array.from({ length: 17 }, () => makeAttribute('Class', Buffer.alloc(253)));
    await using trial = await start({ handle: async () => ({ code: 2, attributes: long }) });
    trial.ask({});
    await trial.untilRefused('reply_too_long');
    expect(trial.peer.received).toHaveLength(0);
  });

  it('beyond the bound of its client is dropped, and others are still served', async () => {
    const gate = Promise.withResolvers<Reply>();
    await using trial = await start({
      clients: {
        '127.0.0.1': makeClient({ name: 'busy' }),
        '127.0.0.2': makeClient({ name: 'quiet' }),
      },
      handle: (_request, { client }) =>
        client.name === 'busy' ? gate.promise : Promise.resolve(accept),
      bounds: { maxPendingPerClient: 3 },
    });
    for (let identifier = 0; identifier < 5; identifier += 1) trial.ask({ identifier });
    await trial.untilRefused('too_many_pending', 2);
    expect(trial.server.counts().pending).toBe(3);
    await using other = await openUdpPeer({ port: trial.port, from: '127.0.0.2' });
    other.send(makeAsk({}));
    await other.untilReceived(1);
    gate.resolve(accept);
    await trial.peer.untilReceived(3);
    expect(trial.server.counts().pending).toBe(0);
  });
});

describe('Message-Authenticator', () => {
  const unsigned = () => withoutMessageAuthenticator(makeAsk({}));

  it('is required: requests without one are dropped, counted and told once a minute', async () => {
    await using trial = await start({});
    for (let count = 0; count < 3; count += 1) trial.peer.send(unsigned());
    await trial.untilRefused('message_authenticator_missing', 3);
    await trial.expectSilenceThenService();
    expect(trial.refused).toEqual([
      { source: 'vpn', isKnown: true, reason: 'message_authenticator_missing', count: 1 },
    ]);
  });

  it('is observed: requests without one are served and counted', async () => {
    await using trial = await start({
      clients: { '127.0.0.1': makeClient({ messageAuthenticator: 'observe' }) },
    });
    const sent = unsigned();
    trial.peer.send(sent);
    const reply = await trial.reply(sent);
    expect(reply.attributes[0]?.type).toBe(80);
    await trial.untilRefused('message_authenticator_observed_missing');
  });

  it('is off: requests without one are served, forged ones and EAP without one are not', async () => {
    await using trial = await start({
      clients: { '127.0.0.1': makeClient({ messageAuthenticator: 'off' }) },
    });
    const forged = makeAsk({});
    forged[25] = (forged[25] ?? 0) ^ 1;
    trial.peer.send(forged);
    const attributes = [makeAttribute('EAP-Message', Buffer.from([2, 0, 0, 4]))];
    trial.peer.send(withoutMessageAuthenticator(makeAsk({ attributes })));
    const sent = unsigned();
    trial.peer.send(sent);
    expect((await trial.reply(sent)).code).toBe(2);
    expect(trial.server.counts().refused).toEqual([
      { source: 'vpn', reason: 'message_authenticator_invalid', count: 1 },
      { source: 'vpn', reason: 'message_authenticator_missing', count: 1 },
    ]);
  });

  it('made with another secret is dropped', async () => {
    await using trial = await start({});
    trial.peer.send(makeAsk({ secret: Buffer.from('another') }));
    await trial.untilRefused('message_authenticator_invalid');
    await trial.expectSilenceThenService();
  });
});

describe('from outside', () => {
  it('a stranger is counted by address, told once a minute, and never answered', async () => {
    await using trial = await start({});
    await using stranger = await openUdpPeer({ port: trial.port, from: '127.0.0.9' });
    for (let count = 0; count < 3; count += 1) stranger.send(makeAsk({}));
    await waitFor('the stranger', () => trial.server.counts().received === 3, { timeoutMs: 5_000 });
    await trial.expectSilenceThenService();
    expect(stranger.received).toHaveLength(0);
    expect(trial.refused).toEqual([
      { source: '127.0.0.9', isKnown: false, reason: 'unknown_client', count: 1 },
    ]);
  });

  it('who watches sees every datagram, from whom, and what became of it', async () => {
    const seen: SeenDatagram[] = [];
    await using trial = await start({ onSeen: (one) => seen.push(one) });
    await using stranger = await openUdpPeer({ port: trial.port, from: '127.0.0.9' });
    const sent = trial.ask({ attributes: [makeAttribute('User-Name', 'alice')] });
    await trial.peer.untilReceived(1);
    trial.peer.send(sent);
    await trial.peer.untilReceived(2);
    trial.peer.send(Buffer.alloc(3));
    await trial.untilRefused('malformed');
    stranger.send(sent);
    await waitFor('all', () => seen.length === 4, { timeoutMs: 5_000 });
    expect(seen.map(({ client, outcome }) => `${client} ${outcome}`)).toEqual([
      'vpn handled',
      'vpn duplicate',
      'vpn malformed',
      'null unknown_client',
    ]);
    expect(seen[0]?.from).toEqual({ address: '127.0.0.1', port: trial.peer.port });
    expect(findText(seen[0]?.packet?.attributes ?? [], 'User-Name')).toBe('alice');
  });

  it.skipIf(!canForge)(
    'from port 0, to which nothing can be sent, a valid packet is dropped and costs nobody else anything (needs python3, root)',
    async () => {
      const errors: unknown[] = [];
      await using trial = await start({ onError: (error) => errors.push(error) });
      const { port } = trial;
      await sendForged(makeAsk({ identifier: 1 }), { fromPort: 0, port });
      await sendForged(makeAsk({ code: 12, identifier: 2 }), { fromPort: 0, port });
      await trial.untilRefused('port_zero', 2);
      expect((await trial.reply(trial.ask({ identifier: 3 }))).code).toBe(2);
      expect(errors).toEqual([]);
    },
  );

  it('another client cannot get the answer, nor end the wait, of a request by sending its bytes', async () => {
    const gate = Promise.withResolvers<Reply>();
    let aborts = 0;
    await using trial = await start({
      clients: {
        '127.0.0.1': makeClient({}),
        '127.0.0.2': makeClient({ name: 'other', secret: Buffer.from('other secret') }),
      },
      handle: (_request, { signal }) => {
        signal.addEventListener('abort', () => {
          aborts += 1;
        });
        return gate.promise;
      },
    });
    const sent = trial.ask({});
    await waitFor('the wait', () => trial.server.counts().pending === 1, { timeoutMs: 5_000 });
    await using other = await openUdpPeer({ port: trial.port, from: '127.0.0.2' });
    other.send(sent);
    await trial.untilRefused('message_authenticator_invalid');
    gate.resolve(accept);
    expect((await trial.reply(sent)).code).toBe(2);
    expect(other.received).toHaveLength(0);
    expect(aborts).toBe(0);
  });

  it.each([
    ['an Access-Accept', makeAsk({ code: 2 }), 'unexpected_code'],
    ['an Accounting-Request', makeAsk({ code: 4 }), 'unexpected_code'],
    ['half a packet', makeAsk({}).subarray(0, 30), 'malformed'],
    ['two user names', makeAsk({ attributes: twice('User-Name') }), 'ambiguous_request'],
    ['two States', makeAsk({ attributes: twice('State') }), 'ambiguous_request'],
    [
      'a CHAP-Password beside the User-Password',
      makeAsk({ attributes: [makeAttribute('CHAP-Password', Buffer.alloc(17))] }),
      'ambiguous_request',
    ],
  ] as const)('%s at the authentication port is dropped', async (_what, bytes, reason) => {
    await using trial = await start({});
    trial.peer.send(bytes);
    await trial.untilRefused(reason);
    await trial.expectSilenceThenService();
  });

  it('that names no device is dropped at both ports where many stand behind one address', async () => {
    const client = { ...makeClient({}), needsNas: true };
    await using trial = await start({ clients: { '127.0.0.1': client } });
    await using accounting = await openUdpPeer({ port: trial.accountingPort });
    const nobody = [makeAttribute('NAS-Identifier', '')];
    const session = makeAttribute('Acct-Session-Id', '1');
    trial.peer.send(makeAsk({}));
    trial.peer.send(makeAsk({ attributes: nobody }));
    accounting.send(makeAsk({ code: 4, attributes: [session] }));
    await waitFor('the refusals', () => trial.server.counts().refused[0]?.count === 3, {
      timeoutMs: 5_000,
    });
    expect(trial.server.counts().refused).toMatchObject([{ reason: 'nas_missing' }]);
    for (const name of ['NAS-Identifier', 'NAS-IP-Address', 'NAS-IPv6-Address'] as const) {
      const value = { 'NAS-IP-Address': '192.0.2.1', 'NAS-IPv6-Address': '2001:db8::1' };
      const named = makeAttribute(name, name === 'NAS-Identifier' ? 'vpn-1' : value[name]);
      const before = trial.peer.received.length;
      const sent = trial.ask({ identifier: 100 + before, attributes: [named] });
      expect((await trial.reply(sent, before)).code).toBe(2);
    }
    const status = trial.ask({ code: 12 });
    expect((await trial.reply(status, 3)).code).toBe(2);
    expect(trial.peer.received).toHaveLength(4);
    expect(accounting.received).toEqual([]);
  });

  it('2,000 mutated packets leave the server serving, with nothing pending', async () => {
    const errors: unknown[] = [];
    await using trial = await start({ onError: (error) => errors.push(error) });
    const random = makeRandom(7);
    const originals = [makeAsk({}), ...makeOriginals()];
    for (let round = 0; round < 20; round += 1) {
      for (let count = 0; count < 100; count += 1) {
        trial.peer.send(mutate(originals[random(originals.length)] as Buffer, random));
      }
      const expected = (round + 1) * 100;
      await waitFor('the packets', () => trial.server.counts().received === expected, {
        timeoutMs: 5_000,
      });
    }
    const sent = trial.ask({ identifier: 99 });
    const isAnswer = (datagram: Buffer) => 'packet' in check(datagram, sent);
    await waitFor('the answer', () => trial.peer.received.some(isAnswer), { timeoutMs: 5_000 });
    expect(errors).toEqual([]);
    expect(trial.server.counts().pending).toBe(0);
  });
});

describe('accounting', () => {
  it('is answered at its port, without Message-Authenticator unless there was one', async () => {
    await using trial = await start({ handle: async () => ({ code: 5, attributes: [] }) });
    await using peer = await openUdpPeer({ port: trial.accountingPort });
    const sent = makeAsk({ code: 4, attributes: [makeAttribute('Acct-Session-Id', '1')] });
    peer.send(sent);
    const [datagram = Buffer.alloc(0)] = await peer.untilReceived(1);
    expect(check(datagram, sent)).toMatchObject({ packet: { code: 5, attributes: [] } });
  });

  it('with a wrong secret or an Access-Request is dropped', async () => {
    await using trial = await start({});
    await using peer = await openUdpPeer({ port: trial.accountingPort });
    peer.send(makeAsk({ code: 4, secret: Buffer.from('another') }));
    peer.send(makeAsk({ code: 1 }));
    await trial.untilRefused('request_authenticator_invalid');
    await trial.untilRefused('unexpected_code');
    await trial.expectSilenceThenService();
  });
});

describe('Status-Server', () => {
  it('is answered at both ports, each time, without the handler', async () => {
    await using trial = await start({ handle: () => Promise.reject(new Error('called')) });
    await using accounting = await openUdpPeer({ port: trial.accountingPort });
    const sent = makeAsk({ code: 12 });
    trial.peer.send(sent);
    trial.peer.send(sent);
    accounting.send(sent);
    expect((await trial.reply(sent)).code).toBe(2);
    await trial.peer.untilReceived(2);
    const [datagram = Buffer.alloc(0)] = await accounting.untilReceived(1);
    expect(check(datagram, sent)).toMatchObject({ packet: { code: 5 } });
  });

  it('goes unanswered while the server does not serve, or without Message-Authenticator', async () => {
    let isServing = false;
    await using trial = await start({ isServing: () => isServing });
    trial.peer.send(makeAsk({ code: 12 }));
    trial.peer.send(withoutMessageAuthenticator(makeAsk({ code: 12 })));
    await trial.untilRefused('message_authenticator_missing');
    isServing = true;
    await trial.expectSilenceThenService();
  });
});

describe('sockets', () => {
  it('IPv6 and IPv4-mapped sources are found by their normalised address', async () => {
    const asked: string[] = [];
    await using server = await RadiusServer.start({
      listen: [{ address: '::', port: 0, service: 'authentication' }],
      findClient: (address) => {
        asked.push(address);
        return makeClient({});
      },
      handle: async () => accept,
    });
    const [port = 0] = server.ports;
    await using mapped = await openUdpPeer({ port });
    mapped.send(makeAsk({}));
    await mapped.untilReceived(1);
    await using six = await openUdpPeer({ address: '::1', port });
    six.send(makeAsk({}));
    await six.untilReceived(1);
    expect(asked).toEqual(['127.0.0.1', '::1']);
  });

  it('several servers share a port with reusePort, and without it the second is refused', async () => {
    const options = (port: number, reusePort: boolean): ServerOptions => ({
      listen: [{ address: '127.0.0.1', port, service: 'authentication' }],
      reusePort,
      findClient: () => makeClient({}),
      handle: async () => accept,
    });
    await using first = await RadiusServer.start(options(0, true));
    const [port = 0] = first.ports;
    await using second = await RadiusServer.start(options(port, true));
    expect(second.ports).toEqual([port]);
    await expect(RadiusServer.start(options(port, false))).rejects.toThrow('EADDRINUSE');
    for (let count = 0; count < 40; count += 1) {
      await using peer = await openUdpPeer({ port });
      peer.send(makeAsk({}));
      await peer.untilReceived(1);
    }
    const counts = [first, second].map((server) => server.counts().received);
    expect(counts.reduce((sum, count) => sum + count)).toBe(40);
    expect(Math.min(...counts)).toBeGreaterThan(0);
  });
});

describe('close', () => {
  it('lets what is pending be answered, and takes nothing new', async () => {
    const gate = Promise.withResolvers<Reply>();
    await using trial = await start({ handle: () => gate.promise });
    const sent = trial.ask({ identifier: 1 });
    await waitFor('the wait', () => trial.server.counts().pending === 1, { timeoutMs: 5_000 });
    const closing = trial.server.close({ timeoutMs: 5_000 });
    trial.ask({ identifier: 2 });
    await trial.untilRefused('closing');
    gate.resolve(accept);
    await closing;
    expect((await trial.reply(sent)).code).toBe(2);
  });

  it('aborts what is still pending at its deadline', async () => {
    const reasons: unknown[] = [];
    await using trial = await start({
      handle: (_request, { signal }) =>
        new Promise<Reply>((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            reasons.push(signal.reason);
            reject(signal.reason as Error);
          });
        }),
    });
    trial.ask({});
    await waitFor('the wait', () => trial.server.counts().pending === 1, { timeoutMs: 5_000 });
    await trial.server.close({ timeoutMs: 10 });
    expect(reasons.map(String)).toEqual(['Error: the RADIUS server closes']);
  });
});

function makeClient(given: Partial<ServerClient>): ServerClient {
  return { name: 'vpn', secret, messageAuthenticator: 'require', ...given };
}

function makeAsk(given: {
  code?: number;
  identifier?: number;
  authenticator?: Buffer;
  password?: Buffer;
  attributes?: readonly Attribute[];
  secret?: Buffer;
}): Buffer {
  const { code = 1, identifier = 1, attributes = [], password = Buffer.from('secret') } = given;
  const authenticator = given.authenticator ?? randomBytes(16);
  const own = given.secret ?? secret;
  const hidden = hideUserPassword(password, { secret: own, authenticator });
  const all = code === 1 ? [...attributes, makeAttribute('User-Password', hidden)] : attributes;
  return signRequest({ code, identifier, authenticator, attributes: all }, own);
}

function withoutMessageAuthenticator(request: Buffer): Buffer {
  const bytes = Buffer.concat([request.subarray(0, 20), request.subarray(38)]);
  bytes.writeUInt16BE(bytes.length, 2);
  return bytes;
}

function twice(name: 'User-Name' | 'State'): Attribute[] {
  return [makeAttribute(name, 'one'), makeAttribute(name, 'two')];
}

function check(datagram: Buffer, request: Buffer) {
  const requestAuthenticator = request.subarray(4, 20);
  const requestCode = request.readUInt8(0);
  const messageAuthenticator = 'require';
  return checkReply(datagram, { requestCode, requestAuthenticator, secret, messageAuthenticator });
}

interface Trial extends AsyncDisposable {
  server: RadiusServer;
  port: number;
  accountingPort: number;
  peer: UdpPeer;
  refused: unknown[];
  /** Sends an Access-Request and gives its bytes. */
  ask(given: Parameters<typeof makeAsk>[0]): Buffer;
  /** The checked reply to it, the first datagram that came or the one at `index`. */
  reply(request: Buffer, index?: number): Promise<Packet>;
  untilIdle(received: number): Promise<void>;
  untilRefused(reason: ServerRefusal, count?: number): Promise<void>;
  /** The next datagram that comes answers the question asked last: nothing came for those before. */
  expectSilenceThenService(): Promise<void>;
}

async function start(given: {
  clients?: Record<string, ServerClient>;
  handle?: ServerOptions['handle'];
  isServing?: () => boolean;
  onSeen?: (seen: SeenDatagram) => void;
  onError?: (error: unknown) => void;
  bounds?: Partial<ServerBounds>;
}): Promise<Trial> {
  const clients = given.clients ?? { '127.0.0.1': makeClient({}) };
  const refused: unknown[] = [];
  const server = await RadiusServer.start({
    handle: async () => accept,
    ...given,
    listen: [
      { address: '127.0.0.1', port: 0, service: 'authentication' },
      { address: '127.0.0.1', port: 0, service: 'accounting' },
    ],
    findClient: (address) => clients[address] ?? null,
    onRefused: (refusal) => refused.push(refusal),
  });
  const [port = 0, accountingPort = 0] = server.ports;
  const peer = await openUdpPeer({ port });
  const reply = async (request: Buffer, index = 0) => {
    const datagrams = await peer.untilReceived(index + 1);
    const checked = check(datagrams[index] ?? Buffer.alloc(0), request);
    if ('refusal' in checked) throw new Error(checked.refusal);
    return checked.packet;
  };
  const countOf = (reason: ServerRefusal) =>
    server.counts().refused.find((refusal) => refusal.reason === reason)?.count ?? 0;
  const wait = { timeoutMs: 5_000 };
  return {
    server,
    port,
    accountingPort,
    peer,
    refused,
    ask: (ask) => {
      const bytes = makeAsk(ask);
      peer.send(bytes);
      return bytes;
    },
    reply,
    untilIdle: async (received) => {
      const isIdle = () => server.counts().received >= received && server.counts().pending === 0;
      await waitFor('no request pending', isIdle, wait);
    },
    untilRefused: async (reason, count = 1) => {
      await waitFor(reason, () => countOf(reason) >= count, wait);
    },
    expectSilenceThenService: async () => {
      const request = makeAsk({ code: 12, identifier: 200 });
      const before = peer.received.length;
      peer.send(request);
      await reply(request, before);
    },
    [Symbol.asyncDispose]: async () => {
      await server.close({ timeoutMs: 0 });
      await peer[Symbol.asyncDispose]();
    },
  };
}
