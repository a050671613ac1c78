import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import {
  createAuthority,
  createClusterId,
  fingerprintOf,
  formatJoinToken,
  isSignedByToken,
  issueCertificate,
  readIdentity,
  signMembers,
  tokenPublicKey,
  wrapFor,
  type JoinRequest,
} from '@countersign/identity';
import { createTestCluster, type TestCluster } from '@countersign/identity/testing';
import { encodeKeyRing, makeGeneration, readKeyRing } from '@countersign/keys';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';

import { readNodeConfig } from './config.ts';
import { joinCluster } from './join-cluster.ts';
import { readLayoutFile } from './layout-file.ts';
import { clusterKeyContext } from './node-identity.ts';
import { parseYaml } from './parse-yaml.ts';

const generation = makeGeneration('2026-03-01T12:00:00.000Z');
const ring = { active: generation.id, generations: [generation] };
const logServer = { name: 'node-1', host: '192.0.2.1', clientPort: 4222, routePort: 6222 };
const layout = { tag: '1', servers: [logServer], by: null, disasterAt: null };

let base: string;
let cluster: TestCluster;
let stranger: TestCluster['authority'];
let server: Server;
let secret: Buffer;
/** What the next requests are answered with, one after the other; then with what is right. */
let answers: ((reply: ServerResponse, right: Record<string, unknown>) => void)[] = [];
const asked: { body: { request: JoinRequest; signature: string }; key: string }[] = [];
let runs = 0;
let data: string;
let configFile: string;

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'countersign-join-'));
  cluster = await createTestCluster([{ name: 'node-1', folder: join(base, 'node-1') }]);
  stranger = await createAuthority({ clusterId: createClusterId() });
  secret = randomBytes(32);
  server = await listen(cluster);
});
afterAll(() => {
  server.close();
  rmSync(base, { recursive: true, force: true });
});
beforeEach(() => {
  runs += 1;
  data = join(base, `data-${runs}`);
  configFile = join(base, `node-${runs}.yaml`);
  answers = [];
  asked.length = 0;
});

/** A server with the certificate of that cluster's node-1, which signs for the real one. */
async function listen(of: TestCluster): Promise<Server> {
  const [{ certificatePem: cert, keyPem: key }] = of.identities as [TestCluster['identities'][0]];
  const made = createServer({ cert, key }, (request, reply) => void serve(request, reply));
  made.listen(0, '127.0.0.1');
  await once(made, 'listening');
  return made;
}

const urlOf = (of: { address(): unknown }, host = '127.0.0.1') =>
  `https://${host}:${(of.address() as AddressInfo).port}`;

async function serve(message: IncomingMessage, reply: ServerResponse): Promise<void> {
  let text = '';
  for await (const chunk of message) text += String(chunk);
  const body = JSON.parse(text) as (typeof asked)[0]['body'];
  asked.push({ body, key: String(message.headers['idempotency-key']) });
  const right = await answerFor(body.request);
  const answer = answers.shift();
  if (answer) return answer(reply, right);
  send(reply, 200, right);
}

function send(reply: ServerResponse, status: number, body: object): void {
  reply.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function answerFor(request: JoinRequest): Promise<Record<string, unknown>> {
  const { authority } = cluster;
  const { name, hosts, role, agentKey, workerKey, supervisorKey } = request;
  const requestPem = request.certificateRequest;
  const wanted = { authority, requestPem, name, hosts, otherNodes: ['node-1'], lifeMs: 3_600_000 };
  const issued = await issueCertificate(wanted);
  const member = {
    ...{ name, role, agentKey, workerKey, supervisorKey, hosts },
    certificateSerial: issued.serial,
    keyDigest: issued.keyDigest,
    certificateExpiresAt: issued.expiresAt,
  };
  const members = [...cluster.members.members, member];
  const context = clusterKeyContext(authority.clusterId, name);
  const wrapped = wrapFor(issued.certificatePem, Buffer.from(encodeKeyRing(ring)), context);
  return {
    ...{ name, role, layout, logServers: [logServer], revision: 7 },
    certificatePem: issued.certificatePem,
    caPem: authority.certificatePem,
    members: signMembers(authority, { version: 2, members }),
    clusterKey: role === 'node' ? wrapped.toString('base64') : null,
  };
}

function joinIt(change: Partial<Parameters<typeof joinCluster>[0]> = {}) {
  const { clusterId, certificatePem } = cluster.authority;
  const token = formatJoinToken({
    clusterId,
    caFingerprint: fingerprintOf(certificatePem),
    tokenId: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',
    secret,
  });
  return joinCluster({
    token,
    serverUrl: urlOf(server),
    role: 'node',
    name: 'node-2',
    hosts: ['192.0.2.2'],
    configFile,
    dataDirectory: data,
    httpPort: 8443,
    nats: null,
    ...change,
  });
}

it('makes a member with identity, cluster key, log servers and configuration', async () => {
  const joined = await joinIt();

  expect(joined).toMatchObject({ members: ['node-1', 'node-2'], isConfigNew: true });
  const identity = readIdentity(join(data, 'identity'))!;
  expect(identity).toMatchObject({ nodeName: 'node-2', clusterId: cluster.authority.clusterId });
  expect((await readKeyRing(join(data, 'cluster.key'), null)).ring).toEqual(ring);
  expect(readLayoutFile(join(data, 'log-layout.json'))).toMatchObject({
    layout,
    runsLogServer: false,
  });
  const config = readNodeConfig(configFile);
  expect(config.logServers.map(({ name, host }) => `${name} ${host}`)).toEqual([
    'node-1 192.0.2.1',
    'node-2 192.0.2.2',
  ]);
  await expect(joinIt()).rejects.toThrow('is node-2 of the cluster');
});

it('sends a signature by the token, and nothing of the token or of its own keys', async () => {
  await joinIt();
  const [{ body }] = asked as [(typeof asked)[0]];
  expect(isSignedByToken(body.request, body.signature, tokenPublicKey(secret))).toBe(true);
  const text = JSON.stringify(body);
  const identity = readIdentity(join(data, 'identity'))!;
  const secrets = [identity.keyPem, identity.agentSeed, identity.workerSeed];
  for (const each of [...secrets, secret.toString('base64'), secret.toString('base64url')]) {
    expect(text).not.toContain(each.trim());
  }
});

it('sends nothing to whoever stands between with a certificate of another CA', async () => {
  const folder = join(base, randomUUID());
  const other = await listen(await createTestCluster([{ name: 'node-1', folder }]));
  let bytes = 0;
  other.on('secureConnection', (socket) => socket.on('data', ({ length }) => (bytes += length)));
  try {
    await expect(joinIt({ serverUrl: urlOf(other) })).rejects.toThrow(
      /by another authority. Nothing was sent/,
    );
  } finally {
    other.close();
  }
  expect({ bytes, asked: asked.length }).toEqual({ bytes: 0, asked: 0 });
  expect(existsSync(join(data, 'identity'))).toBe(false);
});

it('sends nothing to a server of the cluster that is not the one it was sent to', async () => {
  // Its certificate is for 127.0.0.1 and its own names alone.
  await expect(joinIt({ serverUrl: urlOf(server, 'localhost') })).rejects.toThrow(/altnames/);
  expect(asked).toEqual([]);
});

it('sends nothing without TLS, and gives up on who says nothing', async () => {
  await expect(joinIt({ serverUrl: 'http://127.0.0.1:1' })).rejects.toThrow('begin with https');
  const silent = createTcpServer(() => undefined).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  try {
    await expect(joinIt({ serverUrl: urlOf(silent) })).rejects.toThrow('no TLS handshake in 5 s');
  } finally {
    silent.close();
  }
});

it('tells why the cluster refused, in one line whatever it says', async () => {
  answers = [
    (reply) => send(reply, 409, { code: 'join_token_used', detail: 'used\u001b[31m already' }),
  ];
  await expect(joinIt()).rejects.toThrow('used?[31m already (join_token_used)');
  expect(existsSync(join(data, 'identity'))).toBe(false);
});

it('goes on with the same request after an interruption', async () => {
  answers = [(reply) => void reply.destroy()];
  await expect(joinIt()).rejects.toThrow(/hang up|ECONNRESET/);
  expect(existsSync(join(data, 'cluster.key'))).toBe(false);
  await joinIt();
  const [first, second] = asked as [(typeof asked)[0], (typeof asked)[0]];
  expect(second).toEqual(first);
  expect(readIdentity(join(data, 'identity'))?.nodeName).toBe('node-2');
});

it('asks again while the cluster key does not come', async () => {
  answers = [(reply, right) => send(reply, 200, { ...right, clusterKey: null })];
  await joinIt();
  expect(asked.map(({ key }) => key)).toEqual([asked[0]!.key, asked[0]!.key]);
});

it.each<[string, (right: Record<string, unknown>) => unknown]>([
  ['that is too long', (right) => ({ ...right, more: 'x'.repeat(600_000) })],
  ['that is no object', () => 'no'],
  ['without the pinned CA', (right) => ({ ...right, caPem: 'none' })],
  [
    'with another CA beside the pinned one',
    ({ caPem, ...right }) => ({ ...right, caPem: `${String(caPem)}${stranger.certificatePem}` }),
  ],
  ['with members of before', (right) => ({ ...right, members: cluster.members })],
  [
    'with a certificate of another',
    (right) => {
      return { ...right, certificatePem: cluster.identities[0]!.certificatePem };
    },
  ],
  [
    'with a damaged cluster key',
    (right) => ({
      ...right,
      clusterKey: `AAAA${String(right.clusterKey).slice(4)}`,
    }),
  ],
  ['with rubbish for log servers', (right) => ({ ...right, layout: { tag: '../..' } })],
])('takes nothing over from an answer %s', async (_, change) => {
  answers = [(reply, right) => send(reply, 200, change(right) as object)];
  await expect(joinIt()).rejects.toThrow();
  for (const name of ['identity', 'cluster.key', 'log-layout.json']) {
    expect(existsSync(join(data, name)), name).toBe(false);
  }
  expect(existsSync(configFile)).toBe(false);
});

it('asks nobody where a node has its data, or a cluster key lies', async () => {
  mkdirSync(join(data, 'postgres'), { recursive: true });
  await expect(joinIt()).rejects.toThrow('holds the data of a node already');
  expect(asked).toEqual([]);
});

it("joins a cluster whose log is in an operator's NATS with addresses of its own, and never by mistake", async () => {
  const servers = [{ name: 'far:4222', host: 'far', clientPort: 4222, routePort: 4222 }];
  const own = { tag: 'operators', servers, by: null, disasterAt: null };
  answers = Array.from(
    { length: 3 },
    () => (reply, right) => send(reply, 200, { ...right, layout: own }),
  );
  await expect(joinIt()).rejects.toThrow(/own: put nats.urls into .* within 10 minutes/);
  await expect(joinIt({ role: 'witness' })).rejects.toThrow('it has no witness');
  expect(existsSync(join(data, 'identity'))).toBe(false);
  const nats = { urls: ['tls://near'], authorityFile: '/ca.pem' };
  await joinIt({ nats });
  expect(readNodeConfig(configFile).nats).toEqual(nats);
  // It follows what the others have begun, and begins nothing there itself.
  expect(readLayoutFile(join(data, 'log-layout.json'))).toMatchObject({
    layout: { tag: 'operators', by: 'node-1', servers: [{ host: 'near' }] },
    runsLogServer: false,
  });
});

it('does not take nats.urls to a cluster whose nodes run the log servers', async () => {
  const nats = { urls: ['tls://near'], authorityFile: '/ca.pem' };
  await expect(joinIt({ nats })).rejects.toThrow('take nats.urls out of');
  expect(existsSync(join(data, 'identity'))).toBe(false);
});

it('makes a witness without the cluster key', async () => {
  await joinIt({ role: 'witness', name: 'witness-1' });
  expect(asked[0]!.body.request).toMatchObject({ agentKey: null, workerKey: null });
  expect(existsSync(join(data, 'cluster.key'))).toBe(false);
  expect(readIdentity(join(data, 'identity'))?.nodeName).toBe('witness-1');
  // Where the log is; it is let in there once the log moves.
  expect(readLayoutFile(join(data, 'log-layout.json'))).toMatchObject({ runsLogServer: false });
  expect(parseYaml(readFileSync(configFile, 'utf8'))).not.toHaveProperty('http');
});
