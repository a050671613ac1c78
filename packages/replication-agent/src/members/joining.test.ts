import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Membership, type MasterReply } from '@countersign/cluster';
import { findAdministrator, listNodes } from '@countersign/database';
import {
  createCertificateRequest,
  parseJoinToken,
  prepareOwnSecrets,
  publicKeysOf,
  readNodeCertificate,
  signJoinRequest,
  tokenPublicKey,
  unwrap,
  verifyMembers,
  wrapFor,
  type JoinRequest,
  type MemberList,
  type OwnSecrets,
} from '@countersign/identity';
import { createTestCluster, type TestCluster } from '@countersign/identity/testing';
import { sealSession } from '@countersign/operations';
import {
  encodeBase32,
  generateSecret,
  hotp,
  KEY_RING_ID,
  totpStep,
} from '@countersign/verification';
import { beforeAll, describe, expect, it } from 'vitest';
import { authoriseCommand } from '../authorise.ts';
import { runClusterCommand } from '../cluster-commands.ts';
import { AgentEvents } from '../events.ts';
import { rememberNodes } from '../tend-cluster.ts';
import { heartbeatOf } from '../testing/heartbeat-of.ts';
import { noWitnesses } from '../testing/no-witnesses.ts';
import { startTestMaster } from '../testing/start-test-master.ts';
import { silent, useTestLog } from '../testing/use-test-log.ts';
import { readMembers, sealAuthority } from './member-documents.ts';
import { isMember, removeMember } from './remove-member.ts';
import { renewOwnCertificate } from './renew-own-certificate.ts';
import {
  clearJoinTokens,
  ensureAuthority,
  MemberWatch,
  signAfterDisaster,
} from './tend-members.ts';

const test = useTestLog();
const layout = {
  tag: '1',
  servers: [{ name: 'node-1', host: '127.0.0.1', clientPort: 1, routePort: 2 }],
  by: null,
  disasterAt: null,
};
let folder: string;
let master: Awaited<ReturnType<typeof startTestMaster>>;
let cluster: TestCluster;
let duty: Parameters<typeof ensureAuthority>[0];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-joining-'));
  test.atEnd(async () => rmSync(folder, { recursive: true, force: true }));
  cluster = await createTestCluster([{ name: 'node-1', folder: join(folder, 'node-1') }]);
  master = await startTestMaster(test, {
    joining: {
      layout,
      logServers: () => layout.servers,
      wrapClusterKey: async ({ certificatePem, list }) => {
        const { name } = readNodeCertificate(certificatePem, {
          caPem: cluster.authority.certificatePem,
        });
        return wrapFor(certificatePem, Buffer.from('ring'), `${list.clusterId} ${name}`).toString(
          'base64',
        );
      },
    },
  });
  const { db, keys, mastership } = master;
  duty = { db, keys, mastership };
}, 60_000);

async function run(name: string, args: object, options: { proof?: object; id?: string } = {}) {
  const command = master.command(
    name,
    args as Record<string, unknown>,
    8000,
    options.id ?? randomUUID(),
  );
  const contentHash = createHash('sha256')
    .update(JSON.stringify([name, args]))
    .digest('hex');
  const proof = (options.proof ?? command.proof) as typeof command.proof;
  return master.mastership.handle({ ...command, contentHash, proof });
}

function resultOf(reply: MasterReply): Record<string, unknown> {
  if (reply.kind !== 'done') throw new Error(JSON.stringify(reply));
  return reply.result;
}

async function makeToken(role: 'node' | 'witness' = 'node', lifeSeconds = 600): Promise<string> {
  return String(resultOf(await run('join-token.add', { role, lifeSeconds })).token);
}

let made = 0;
async function makeRequest(
  tokenText: string,
  change: Partial<JoinRequest> = {},
): Promise<{ request: JoinRequest; signature: string; secrets: OwnSecrets }> {
  const token = parseJoinToken(tokenText);
  made += 1;
  const name = change.name ?? `joiner-${made}`;
  const secrets = prepareOwnSecrets(join(folder, `${name}-${made}`));
  const request: JoinRequest = {
    clusterId: token.clusterId,
    tokenId: token.tokenId,
    role: 'node',
    name,
    hosts: ['127.0.0.1'],
    certificateRequest: await createCertificateRequest({ name, keyPem: secrets.keyPem }),
    ...publicKeysOf(secrets, 'node'),
    ...change,
  };
  return { request, signature: signJoinRequest(request, token.secret), secrets };
}

function ask(
  { request, signature }: { request: JoinRequest; signature: string },
  id: string = randomUUID(),
) {
  return run('node.join', { request, signature }, { proof: { kind: 'join-token' }, id });
}

const currentList = async (): Promise<MemberList> => (await readMembers(duty))!.document.list;

describe('a cluster that was not founded by init', () => {
  it('makes no join tokens and renews nothing', async () => {
    const wishes = [
      run('join-token.add', { role: 'node', lifeSeconds: 600 }),
      run('node.renew', { name: 'node-1', certificateRequest: 'x' }),
    ];
    for (const reply of await Promise.all(wishes)) {
      expect(reply).toMatchObject({ kind: 'refused', code: 'not_secured' });
    }
    expect(await removeMember(duty, 'node-9')).toBe(true);
  });
});

describe('a founded cluster', () => {
  beforeAll(async () => {
    const authority = sealAuthority(cluster.authority, master.keys.authority);
    const founding = { authority, members: cluster.members };
    expect(await ensureAuthority(duty, founding)).toBe(true);
    expect(await ensureAuthority(duty, founding)).toBe(true);
  });

  it('has its first member, and no CA key in the clear anywhere in the replica', async () => {
    expect(await currentList()).toEqual(cluster.members);
    const rows = await master.db.sql<{ text: string }[]>`
      select encode(bytes, 'escape') as text from documents`;
    const secret = cluster.authority.keyPem.split('\n')[1]!;
    expect(rows.length).toBeGreaterThan(1);
    for (const { text } of rows) expect(text).not.toContain(secret);
  });

  it('lets a node in with a token, and gives it all it needs', async () => {
    const token = await makeToken();
    const joiner = await makeRequest(token);
    const reply = await ask(joiner);

    expect(reply).toMatchObject({ kind: 'done', result: { name: joiner.request.name, layout } });
    const result = resultOf(reply);
    const caPem = String(result.caPem);
    const certificatePem = String(result.certificatePem);
    expect(caPem).toBe(cluster.authority.certificatePem);
    const { keyPem } = joiner.secrets;
    const certificate = readNodeCertificate(certificatePem, { caPem, keyPem });
    const list = verifyMembers(result.members, { caPem });
    expect(list.members.map(({ name }) => name)).toEqual([joiner.request.name, 'node-1']);
    expect(list.version).toBeGreaterThan(cluster.members.version);
    expect(list.members[0]).toMatchObject({
      certificateSerial: certificate.serial,
      keyDigest: certificate.keyDigest,
      agentKey: joiner.request.agentKey,
    });
    const wrapped = Buffer.from(String(result.clusterKey), 'base64');
    const context = `${list.clusterId} ${joiner.request.name}`;
    expect(unwrap(keyPem, wrapped, context).toString()).toBe('ring');
  });

  it('answers the same join again, and refuses the used token to anybody else', async () => {
    const token = await makeToken();
    const joiner = await makeRequest(token);
    const id = randomUUID();
    const first = await ask(joiner, id);
    const again = await ask(joiner, id);
    expect(resultOf(again).certificatePem).toBe(resultOf(first).certificatePem);
    const version = (await currentList()).version;

    expect(await ask(joiner)).toMatchObject({ code: 'join_token_used' });
    expect(await ask(await makeRequest(token))).toMatchObject({ code: 'join_token_used' });
    expect(await ask(await makeRequest(token), id)).toMatchObject({
      code: 'idempotency_conflict',
    });
    expect((await currentList()).version).toBe(version);
  });

  it('lets only one of two in that bring one token at once', async () => {
    const token = await makeToken();
    const joiners = await Promise.all([makeRequest(token), makeRequest(token)]);
    const replies = await Promise.all(joiners.map((joiner) => ask(joiner)));
    expect(replies.map(({ kind }) => kind).toSorted()).toEqual(['done', 'refused']);
  });

  it('does not sign for what the token has not signed', async () => {
    const token = await makeToken();
    const joiner = await makeRequest(token);
    const thief = await makeRequest(token);
    const stolen = { request: thief.request, signature: joiner.signature };
    expect(await ask(stolen)).toMatchObject({ status: 401, code: 'unauthorized' });
    const other = await makeToken();
    const foreign = { ...joiner, signature: (await makeRequest(other)).signature };
    expect(await ask(foreign)).toMatchObject({ status: 401 });
    expect(await ask(await makeRequest(token, { tokenId: randomUUID() }))).toMatchObject({
      status: 401,
    });
    // Nothing was used up by that.
    expect(await ask(joiner)).toMatchObject({ kind: 'done' });
  });

  it('lets nobody in by other rights: without its signature a token is good for nothing', async () => {
    const token = await makeToken();
    const { request } = await makeRequest(token);
    const { signature } = await makeRequest(await makeToken(), { name: request.name });
    const added = await run('api-key.add', { name: 'cluster', scopes: ['cluster:write'] });
    const apiKey = { kind: 'api-key', secret: resultOf(added).key, remoteAddress: '192.0.2.9' };
    for (const proof of [apiKey, undefined]) {
      const reply = await run('node.join', { request, signature }, proof ? { proof } : {});
      expect(reply).toMatchObject({ status: 401, code: 'unauthorized' });
    }
    expect(await isMember(duty, request.name)).toBe(false);
  });

  it('gives a witness no certificate for the hosts of a node', async () => {
    const hosts = ['mfa.example.com', '192.0.2.20'];
    expect(await ask(await makeRequest(await makeToken(), { hosts }))).toMatchObject({
      kind: 'done',
    });
    const token = await makeToken('witness');
    const asWitness = { role: 'witness', agentKey: null, workerKey: null } as const;
    for (const host of hosts) {
      const greedy = await makeRequest(token, { ...asWitness, hosts: ['192.0.2.21', host] });
      expect(await ask(greedy)).toMatchObject({ status: 400, code: 'invalid_request' });
    }
    const modest = await makeRequest(token, { ...asWitness, hosts: ['192.0.2.21'] });
    expect(await ask(modest)).toMatchObject({ kind: 'done' });
    // Behind one balancer.
    expect(await ask(await makeRequest(await makeToken(), { hosts }))).toMatchObject({
      kind: 'done',
    });
  });

  it('does not count tokens that were used long ago among those of the last hour', async () => {
    const { document } = (await readMembers(duty))!;
    const expiresAt = new Date(Date.now() - 2 * 3_600_000).toISOString();
    const old = Array.from({ length: 256 }, () => ({ id: randomUUID(), expiresAt }));
    await master.mastership.rewrite({
      kind: 'members',
      id: 'members',
      make: async () => ({ ...document, spentTokens: old }),
    });
    expect(await ask(await makeRequest(await makeToken()))).toMatchObject({ kind: 'done' });
    expect((await readMembers(duty))!.document.spentTokens).toHaveLength(1);
  });

  it('takes a join token for nothing else', async () => {
    const joiner = await makeRequest(await makeToken());
    const { request, signature } = joiner;
    const proof = { kind: 'join-token' };
    for (const name of ['join-token.add', 'user.add', 'node.renew']) {
      expect(await run(name, { request, signature }, { proof })).toMatchObject({ status: 401 });
    }
  });

  it('refuses a token that has expired, is revoked, or is for a witness', async () => {
    const token = await makeToken('node', 60);
    const joiner = await makeRequest(token);
    const { tokenId } = parseJoinToken(token);
    await master.mastership.rewrite({
      kind: 'join-token',
      id: tokenId,
      make: async () => ({
        id: tokenId,
        role: 'node',
        publicKey: tokenPublicKey(parseJoinToken(token).secret),
        createdAt: new Date(Date.now() - 120_000).toISOString(),
        expiresAt: new Date(Date.now() - 60_000).toISOString(),
      }),
    });
    expect(await ask(joiner)).toMatchObject({ code: 'join_token_expired' });
    expect(await run('join-token.revoke', { id: tokenId })).toMatchObject({ kind: 'done' });
    expect(await ask(joiner)).toMatchObject({ status: 401 });

    const asNode = await makeRequest(await makeToken('witness'));
    expect(await ask(asNode)).toMatchObject({ code: 'join_token_role' });
  });

  it('lets a witness in without the cluster key or keys of an agent', async () => {
    const token = await makeToken('witness');
    const greedy = await makeRequest(token, { role: 'witness' });
    expect(await ask(greedy)).toMatchObject({ code: 'invalid_request' });
    const witness = await makeRequest(token, { role: 'witness', agentKey: null, workerKey: null });
    expect(await ask(witness)).toMatchObject({ kind: 'done', result: { clusterKey: null } });
  });

  it.each<[string, Partial<JoinRequest>, string]>([
    ['the name of a member', { name: 'node-1' }, 'node_exists'],
    ['a request for another name', { certificateRequest: 'x' }, 'invalid_request'],
    ["another node's name as host", { hosts: ['node-1'] }, 'invalid_request'],
    ['an inner name as host', { hosts: ['a.countersign'] }, 'invalid_request'],
    ['a name that is none', { name: 'Node 2' }, 'invalid_request'],
    ['no key of an agent', { agentKey: null }, 'invalid_request'],
  ])('refuses %s and keeps the token good', async (_, change, code) => {
    const token = await makeToken();
    expect(await ask(await makeRequest(token, change))).toMatchObject({ code });
    expect(await ask(await makeRequest(token))).toMatchObject({ kind: 'done' });
  });

  it('refuses the keys of a member to another', async () => {
    const agentKey = (await currentList()).members[0]!.agentKey;
    const copied = await makeRequest(await makeToken(), { workerKey: agentKey });
    expect(await ask(copied)).toMatchObject({ code: 'key_exists' });
  });

  it('refuses a request for a certificate that was signed by another key', async () => {
    const token = await makeToken();
    const one = await makeRequest(token);
    const der = Buffer.from(
      one.request.certificateRequest.replace(/-----.*-----|\s/g, ''),
      'base64',
    );
    der[der.length - 1]! ^= 1;
    const certificateRequest = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    const { name } = one.request;
    const forged = await makeRequest(token, { name, certificateRequest });
    expect(await ask(forged)).toMatchObject({ status: 400, code: 'invalid_request' });
  });

  it('makes join tokens only for whoever may do everything', async () => {
    const scopes = ['cluster:write', 'api-keys:write', 'verify'];
    const added = await run('api-key.add', { name: 'some rights', scopes });
    const secret = String(resultOf(added).key);
    const proof = { kind: 'api-key', secret, remoteAddress: '192.0.2.9' };
    const reply = await run('join-token.add', { role: 'node', lifeSeconds: 600 }, { proof });
    expect(reply).toMatchObject({ status: 403, code: 'forbidden' });
  });

  it('shows a token again only to a repeat of its making, and stores nothing it could be made of', async () => {
    const id = randomUUID();
    const wish = { role: 'node', lifeSeconds: 600 };
    const first = await run('join-token.add', wish, { id });
    expect(await run('join-token.add', wish, { id })).toEqual(first);
    const token = String(resultOf(first).token);
    const rows = await master.db.sql`select command_results::text as row from command_results`;
    expect(JSON.stringify(rows)).not.toContain(token);
    const { secret } = parseJoinToken(token);
    expect(JSON.stringify(rows)).not.toContain(secret.toString('base64url'));

    const scopes = ['cluster:write', 'api-keys:write'];
    const key = String(resultOf(await run('api-key.add', { name: 'fewer rights', scopes })).key);
    const proof = { kind: 'api-key', secret: key, remoteAddress: '192.0.2.9' };
    expect(await run('join-token.add', wish, { id, proof })).toMatchObject({ code: 'forbidden' });
  });

  it('shows a key again only to whoever could make it', async () => {
    const id = randomUUID();
    const wish = { name: 'all of verification', scopes: ['verify', 'reasons:read'] };
    await run('api-key.add', wish, { id });
    const fewer = { name: 'makes keys', scopes: ['api-keys:write', 'verify'] };
    const secret = String(resultOf(await run('api-key.add', fewer)).key);
    const proof = { kind: 'api-key', secret, remoteAddress: '192.0.2.9' };
    expect(await run('api-key.add', wish, { id, proof })).toMatchObject({ code: 'forbidden' });
  });

  it('renews a certificate for whoever holds its key, and for nobody else', async () => {
    const [identity] = cluster.identities as [TestCluster['identities'][0]];
    const own = { ...identity };
    const asked: string[] = [];
    const renewal = {
      node: 'node-1',
      identity: own,
      ask: async (args: Record<string, unknown>) => {
        asked.push(String(args.name));
        const reply = await run('node.renew', args);
        return reply.kind === 'done'
          ? { certificatePem: String(reply.result.certificatePem) }
          : { why: JSON.stringify(reply) };
      },
      keep: (certificatePem: string) => void (own.certificatePem = certificatePem),
      log: { info() {}, warn() {} },
    };
    const before = readNodeCertificate(own.certificatePem, own);
    expect(await renewOwnCertificate(renewal, before.startsAtMs)).toBe(false);
    expect(asked).toEqual([]);
    // A day long; two thirds of it are over.
    expect(await renewOwnCertificate(renewal, before.endsAtMs - 3_600_000)).toBe(true);
    const after = readNodeCertificate(own.certificatePem, own);
    expect(after.endsAtMs - before.endsAtMs).toBeGreaterThan(80 * 86_400_000);
    expect(after.keyDigest).toBe(before.keyDigest);
    const entry = (await currentList()).members.find(({ name }) => name === 'node-1');
    expect(entry?.certificateSerial).toBe(after.serial);

    const stranger = prepareOwnSecrets(join(folder, 'stranger'));
    const request = await createCertificateRequest({ name: 'node-1', keyPem: stranger.keyPem });
    const args = { name: 'node-1', certificateRequest: request };
    expect(await run('node.renew', args)).toMatchObject({ code: 'forbidden' });
  });

  it('takes a removed member off the list, notes that the key is to change, and does not renew it', async () => {
    const joiner = await makeRequest(await makeToken());
    const { name, certificateRequest } = joiner.request;
    await ask(joiner);
    expect(await isMember(duty, name)).toBe(true);

    expect(await removeMember(duty, name)).toBe(true);
    expect(await isMember(duty, name)).toBe(false);
    const { document } = (await readMembers(duty))!;
    expect(verifyMembers(document.list, { caPem: cluster.authority.certificatePem })).toBeTruthy();
    expect(document.rotationDueSince).not.toBeNull();
    expect(await run('node.renew', { name, certificateRequest })).toMatchObject({
      code: 'unknown_node',
    });
  });

  describe('removing a node', () => {
    const begun: string[] = [];
    const layoutWith = (...names: string[]) => ({
      ...layout,
      servers: names.map((name) => ({ name, host: '127.0.0.1', clientPort: 1, routePort: 2 })),
    });
    let membership: Membership;

    beforeAll(() => {
      membership = new Membership(master.link);
    });

    function remove(
      name: string,
      {
        evenOnline = false,
        servers = ['node-1'],
        isWitness = false,
        proof = null as Record<string, unknown> | null,
      } = {},
    ) {
      const { db, keys, mastership, lease, replica, link } = master;
      const command = master.command('cluster.remove-node', { node: name, evenOnline });
      const keyRotation = {
        async begin({ reason }: { reason: string }) {
          begun.push(reason);
          return { kind: 'begun' as const, to: 'next', isNew: true };
        },
      };
      const events = new AgentEvents(db, 'node-1', () => undefined);
      const parts = { db, keys, mastership, lease, replica, link, membership, keyRotation, events };
      return runClusterCommand(
        {
          ...parts,
          ...{ node: 'node-1', sealer: master.sealer, layout: layoutWith(...servers) },
          authorise: (asked) => authoriseCommand({ db, keys }, asked),
          witnesses: { ...noWitnesses, isWitness: () => isWitness },
          tryMove: async () => false,
          log: silent,
        },
        proof ? { ...command, proof } : command,
      );
    }

    async function joinNew(): Promise<string> {
      const joiner = await makeRequest(await makeToken());
      await ask(joiner);
      return joiner.request.name;
    }

    it('that is a witness goes also as a log server, and had no key to be changed', async () => {
      const token = await makeToken('witness');
      const asked = await makeRequest(token, { role: 'witness', agentKey: null, workerKey: null });
      await ask(asked);
      const { name } = asked.request;
      const before = begun.length;
      const reply = await remove(name, { servers: ['node-1', name], isWitness: true });
      expect(reply).toMatchObject({ kind: 'done', result: { removed: name, keysRotate: false } });
      expect(await isMember(duty, name)).toBe(false);
      expect(begun).toHaveLength(before);
    });

    it('that runs takes its being meant, and the master goes only after another is', async () => {
      const name = await joinNew();
      membership.send(heartbeatOf(name));
      expect(await remove(name)).toMatchObject({ code: 'node_online' });
      expect(await isMember(duty, name)).toBe(true);
      expect(await remove('node-1', { evenOnline: true })).toMatchObject({ code: 'is_master' });
      expect(await remove('nobody', { evenOnline: true })).toMatchObject({ code: 'unknown_node' });

      const scopes = ['cluster:write'];
      const secret = resultOf(await run('api-key.add', { name: 'fewer', scopes })).key;
      const proof = { kind: 'api-key', secret, remoteAddress: '192.0.2.9' };
      expect(await remove(name, { evenOnline: true, proof })).toMatchObject({ code: 'forbidden' });
      expect(await isMember(duty, name)).toBe(true);

      const servers = ['node-1', name];
      membership.send(heartbeatOf(name));
      const reply = await remove(name, { evenOnline: true, servers });
      expect(resultOf(reply)).toMatchObject({ removed: name, isOnline: true, isLogServer: true });
      expect(await isMember(duty, name)).toBe(false);
      expect(begun.at(-1)).toContain(name);
      // It goes on talking until the log servers have dropped it.
      membership.send(heartbeatOf(name));
      await rememberNodes({ ...duty, membership });
      expect((await listNodes(master.db)).map((node) => node.name)).not.toContain(name);
    });

    it('that may be hostile stops the sessions that it could forge, until another key is active', async () => {
      const { code } = resultOf(
        await run('administrator.add', { username: 'olga', roles: ['owner'] }),
      );
      const secret = generateSecret();
      const typed = {
        password: 'correct horse battery',
        secret: encodeBase32(secret),
        code: hotp(secret, totpStep(Date.now(), 30), { algorithm: 'SHA1', digits: 6 }),
      };
      const accepted = await master.mastership.handle({
        ...master.command('administrator.accept', typed),
        actor: 'olga',
        proof: { kind: 'invitation', secret: code },
      });
      expect(accepted).toMatchObject({ kind: 'done' });
      const at = Date.now() + 61_000;
      const { id } = (await findAdministrator(master.db, 'olga'))!;
      const token = sealSession(master.keys, {
        ...{ id: randomUUID(), administratorId: id, madeAt: at, usedAt: Date.now() },
        ...{ secondFactorAt: Date.now(), expiresAt: at + 3_600_000 },
      });
      const asOlga = (username: string) =>
        master.mastership.handle({
          ...master.command('user.add', { username }),
          actor: 'olga',
          proof: { kind: 'session', token },
        });
      /** The second generation, as of now. */
      const setActive = async (active: string) => {
        const madeAt = new Date().toISOString();
        const document = {
          id: KEY_RING_ID,
          active,
          generations: [
            { id: '00000000', madeAt: '2026-01-01T00:00:00.000Z' },
            { id: '11111111', madeAt, sealed: 'AAAA' },
          ],
          rotation: {
            ...{ reason: 'x', by: 'x', from: '00000000', to: '11111111', startedAt: madeAt },
            ...{ activatedAt: null, finishedAt: null },
          },
        };
        const change = { kind: 'key-ring', id: KEY_RING_ID, document };
        expect(await master.mastership.write(change)).toBe(true);
      };
      await setActive('11111111');
      expect(resultOf(await remove(await joinNew()))).toMatchObject({ isOnline: false });
      expect(await asOlga('while-trusted')).toMatchObject({ kind: 'done' });

      expect(await remove(await joinNew(), { evenOnline: true })).toMatchObject({ kind: 'done' });
      expect(await asOlga('while-forged')).toMatchObject({ code: 'sessions_paused' });
      await setActive('00000000');
      expect(await asOlga('while-made')).toMatchObject({ code: 'sessions_paused' });
      await setActive('11111111');
      expect(await asOlga('later')).toMatchObject({ kind: 'done' });
    });

    it('takes back what would still let somebody in, and says which keys to look through', async () => {
      const name = await joinNew();
      const open = parseJoinToken(await makeToken());
      const roles = ['auditor'];
      const { code } = resultOf(await run('administrator.add', { username: 'ivy', roles }));
      const key = resultOf(await run('api-key.add', { name: 'a script', scopes: ['verify'] }));

      expect(resultOf(await remove(name))).toMatchObject({
        joinTokens: expect.arrayContaining([open.tokenId]),
        invitations: ['ivy'],
        apiKeys: expect.arrayContaining([
          { id: key.id, name: 'a script', createdAt: expect.any(String) },
        ]),
      });
      expect(await run('join-token.revoke', { id: open.tokenId })).toMatchObject({
        code: 'unknown_join_token',
      });
      const accepted = await master.mastership.handle({
        ...master.command('administrator.accept', { password: 'x', secret: 'x', code: 'x' }),
        actor: 'ivy',
        proof: { kind: 'invitation', secret: code },
      });
      expect(accepted).toMatchObject({ code: 'invalid_invitation' });
      // Whoever was invited can be invited again.
      expect(await run('administrator.invite', { username: 'ivy' })).toMatchObject({
        kind: 'done',
      });
    });
  });

  it('tells of members once for each change', async () => {
    const told: number[] = [];
    const log = { info() {}, warn() {} };
    const watch = new MemberWatch(duty, ({ version }) => void told.push(version), log);
    await watch.look();
    await watch.look();
    await ask(await makeRequest(await makeToken()));
    await watch.look();
    const { version } = await currentList();
    expect(told).toEqual([told[0], version]);
    expect(version).toBeGreaterThan(told[0]!);
  });

  it('signs the list anew after a forced promotion, as newer than what a node left behind may have', async () => {
    const setDisaster = (at: string | null) => master.db.sql`
      update applied set
        incarnation = jsonb_set(incarnation, '{disasterAt}', coalesce(to_jsonb(${at}::text), 'null'))`;
    const before = await currentList();
    expect(await signAfterDisaster(duty)).toBe(true);
    expect(await currentList()).toEqual(before);
    // Longer ago than any list can be that was signed here.
    await setDisaster('2020-01-01T00:00:00.000Z');
    expect(await signAfterDisaster(duty)).toBe(true);
    expect(await currentList()).toEqual(before);

    const at = Date.now() + 3_600_000;
    await setDisaster(new Date(at).toISOString());
    expect(await signAfterDisaster(duty, at + 1000)).toBe(true);
    const after = await currentList();
    expect(after.version * 1000).toBeGreaterThan(at - 1000);
    expect(after.members).toEqual(before.members);
    expect(verifyMembers(after, { caPem: cluster.authority.certificatePem })).toEqual(after);
    await setDisaster(null);
  });

  it('forgets tokens a quarter of an hour after they expired', async () => {
    const token = await makeToken('node', 60);
    const { tokenId } = parseJoinToken(token);
    await clearJoinTokens(duty, Date.now() + 10 * 60_000);
    expect(await run('join-token.revoke', { id: tokenId })).toMatchObject({ kind: 'done' });
    const { tokenId: other } = parseJoinToken(await makeToken('node', 60));
    await clearJoinTokens(duty, Date.now() + 17 * 60_000);
    expect(await run('join-token.revoke', { id: other })).toMatchObject({
      code: 'unknown_join_token',
    });
  });
});
