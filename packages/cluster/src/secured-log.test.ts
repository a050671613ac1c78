import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect as connectPlain } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { connect } from '@nats-io/transport-node';
import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureStreams } from './incarnation.ts';
import { publish } from './jetstream.ts';
import { signInOptions } from './log-sign-in.ts';
import { namesOf } from './names.ts';
import { NatsLink, type Log } from './nats-link.ts';
import {
  makeMembers,
  makeSigner,
  type TestMember,
  type TestSigner,
} from './testing/secured-log.ts';

const silent: Log = { info() {}, warn() {} };
const MIB = 1024 * 1024;
const limits = { changesBytes: 8 * MIB, statesBytes: 8 * MIB, eventsBytes: 8 * MIB };
const NODES = ['node-1', 'node-2', 'node-3'] as const;

describe('three secured log servers', () => {
  const closing: (() => Promise<unknown>)[] = [];
  let nats: TestNats;
  let folder: string;
  let members: Record<(typeof NODES)[number] | 'removed', TestMember>;
  let foreign: TestMember;
  let agents: TestSigner[];
  let removed: TestSigner;

  const addresses = () => nats.urls.map((url) => url.replace('nats://', ''));
  const accessOf = (index: number, isRemovedIn: boolean) => ({
    ...members[NODES[index]!],
    users: [...agents, ...(isRemovedIn ? [removed] : [])].map(({ user }) => user),
    routeKeys: NODES.map((node) => members[node].keyDigest),
  });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'countersign-secured-'));
    closing.push(() => rm(folder, { recursive: true }));
    members = await makeMembers(join(folder, 'ours'), [...NODES, 'removed']);
    foreign = (await makeMembers(join(folder, 'foreign'), ['node-1']))['node-1'];
    agents = NODES.map((node) => makeSigner(node, 'agent', members[node]));
    removed = makeSigner('removed', 'agent', members.removed);
    nats = await startTestNats({ servers: 3, access: (index) => accessOf(index, true) });
    closing.push(() => nats.stop());
  }, 60_000);

  afterAll(async () => {
    for (const close of closing.toReversed()) await close();
  });

  function link(signer: TestSigner): NatsLink {
    const made = new NatsLink({
      ...signer.signIn,
      servers: addresses(),
      name: 'test',
      log: silent,
    });
    closing.push(() => made.close());
    return made;
  }

  async function attempt(signIn: TestSigner['signIn']): Promise<string> {
    const options = { ...signInOptions(signIn), servers: addresses()[0]!, reconnect: false };
    try {
      await (await connect({ ...options, timeout: 10_000 })).close();
      return 'let in';
    } catch (error) {
      return String(error);
    }
  }

  it('form a log of three copies over their routes', async () => {
    const own = link(agents[0]!);
    await waitFor(
      'the streams',
      () => ensureStreams(own, namesOf(1), { logReplicas: 3, limits }).then(() => true),
      { timeoutMs: 30_000 },
    );
    const subject = namesOf(1).change('user', 'alice');
    expect((await publish(own, subject, Buffer.from('x'), 10_000)).kind).toBe('stored');
  }, 40_000);

  it('say nothing at all in the clear', async () => {
    const [host, port] = addresses()[0]!.split(':');
    const received = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connectPlain({ host: host!, port: Number(port) }, () => {
        socket.write('CONNECT {"verbose":false}\r\nPING\r\n');
      });
      socket.on('data', (bytes) => (text += bytes.toString('latin1')));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(text));
    });
    expect(received).not.toContain('INFO');
    expect(received).not.toContain('PONG');
  });

  /** How a TLS handshake ends: what the server greets with, or why there was none. */
  async function shakeHands(options: ConnectionOptions): Promise<string> {
    const [host, port] = addresses()[0]!.split(':');
    return new Promise((resolve) => {
      const socket = connectTls({ host: host!, port: Number(port), ...options });
      socket.on('data', (bytes) => {
        resolve(bytes.toString().slice(0, 4));
        socket.destroy();
      });
      socket.on('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? 'error'));
      socket.on('close', () => resolve('closed'));
    });
  }

  it('want a certificate of this cluster, and TLS 1.2 or newer', async () => {
    const read = async (files: TestMember) => ({
      ca: await readFile(members['node-1'].authorityFile),
      cert: await readFile(files.certificateFile),
      key: await readFile(files.keyFile),
    });
    const ours = await read(members['node-1']);
    expect(await shakeHands(ours)).toBe('INFO');
    expect(await shakeHands({ ...ours, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })).toBe(
      'INFO',
    );
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
    expect(await shakeHands({ ...ours, ...old } as ConnectionOptions)).toMatch(/^ERR_SSL/);
    expect(await shakeHands({ ca: ours.ca })).toMatch(/^ERR_SSL|ECONNRESET/);
    expect(await shakeHands(await read(foreign))).toMatch(/^ERR_SSL|ECONNRESET/);
  });

  it('let nobody in by a certificate alone, nor a key that is no member', async () => {
    const stranger = makeSigner('node-1', 'agent', members['node-1']);
    expect(await attempt(stranger.signIn)).toMatch(/Authorization/);
    expect(await attempt(agents[1]!.signIn)).toBe('let in');
  });

  it('are not believed when their certificate is of another authority', async () => {
    const signIn = { ...agents[0]!.signIn, tls: { ...agents[0]!.signIn.tls } };
    signIn.tls.authorityFile = foreign.authorityFile;
    expect(await attempt(signIn)).toMatch(/certificate/);
  });

  it('are not believed when they are no members any more, although their certificate is good', async () => {
    const list = JSON.parse(await readFile(members['node-1'].membersFile, 'utf8')) as {
      members: { name: string }[];
    };
    const membersFile = join(folder, 'members-of-one.json');
    const without = (name: string) =>
      writeFile(
        membersFile,
        JSON.stringify({ members: list.members.filter((member) => member.name !== name) }),
      );
    const { signIn } = agents[1]!;
    const own = { ...signIn, tls: { ...signIn.tls, membersFile } };
    await without('node-2');
    expect(await attempt(own)).toBe('let in');
    const connected = new NatsLink({ ...own, servers: addresses(), name: 't', log: silent });
    closing.push(() => connected.close());
    const isThere = () => connected.server === addresses()[0];
    await waitFor('the first server', isThere, { timeoutMs: 20_000 });

    await without('node-1');
    expect(await attempt(own)).toContain('none of the cluster');
    // What is connected leaves it, too.
    const hasLeft = () => connected.isUp && connected.server !== addresses()[0];
    await waitFor('another server', hasLeft, { timeoutMs: 20_000 });
  });

  it('refuse the routes of a server whose key is no member, although its certificate is good', async () => {
    const withoutThird = (index: number) => ({
      ...accessOf(index, true),
      routeKeys: NODES.slice(0, 2).map((node) => members[node].keyDigest),
    });
    const [first, third] = [agents[0]!, agents[2]!].map(
      (signer, index) =>
        new NatsLink({
          ...signer.signIn,
          servers: [addresses()[index * 2]!],
          name: 't',
          log: silent,
        }),
    ) as [NatsLink, NatsLink];
    closing.push(() => Promise.all([first.close(), third.close()]));
    const inbox = first.createInbox();
    let heard = 0;
    first.whenFirstConnected((connection) => {
      connection.subscribe(inbox, { callback: () => void (heard += 1) });
    });
    const isHeard = async () => {
      const before = heard;
      third.publish(inbox, '');
      await third.request('$JS.API.INFO', '', { timeoutMs: 2000 }).catch(() => null);
      await first.request('$JS.API.INFO', '', { timeoutMs: 2000 }).catch(() => null);
      return heard > before;
    };
    await Promise.all([first, third].map((each) => each.waitUntilUp(10_000)));
    await waitFor('the third server', isHeard, { timeoutMs: 20_000 });
    for (const index of [0, 1]) await nats.servers[index]!.reload(withoutThird(index));
    const isGone = async () => !(await isHeard());
    await waitFor('the end of its routes', isGone, { timeoutMs: 20_000 });
    await nats.restart(2);
    await third.waitUntilUp(10_000);
    expect(await isHeard()).toBe(false);
    for (const index of [0, 1]) await nats.servers[index]!.reload(accessOf(index, true));
    await waitFor('the third server again', isHeard, { timeoutMs: 20_000 });
  }, 90_000);

  it('drop a member that was removed at once, keep the others, and let a new one in', async () => {
    const [staying, leaving] = [link(agents[0]!), link(removed)];
    await Promise.all([staying, leaving].map((each) => each.waitUntilUp(10_000)));
    let wasDown = false;
    const downs = setInterval(() => (wasDown ||= !staying.isUp), 1);
    for (const [index, server] of nats.servers.entries()) {
      await server.reload(accessOf(index, false));
    }
    await waitFor('the end of its connection', () => !leaving.isUp, { timeoutMs: 10_000 });
    clearInterval(downs);
    expect(wasDown).toBe(false);
    expect(await attempt(removed.signIn)).toMatch(/Authorization/);
    expect(await leaving.waitUntilUp(1000)).toBe(false);

    for (const [index, server] of nats.servers.entries())
      await server.reload(accessOf(index, true));
    expect(await leaving.waitUntilUp(10_000)).toBe(true);
  }, 30_000);
});
