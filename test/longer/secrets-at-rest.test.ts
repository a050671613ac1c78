import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { hasSlapd, startTestSlapd, takeFreePorts, type TestSlapd } from '@countersign/testing';
import {
  decodeBase32,
  encodeBase32,
  generateSecret,
  hotp,
  totpStep,
} from '@countersign/verification';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { importPeople } from '../harness/directories.ts';
import { enrolPeople, enrolPerson, type Person } from '../harness/people.ts';
import { addVpn } from '../harness/radius-clients.ts';
import { RadiusDevice } from '../harness/radius-device.ts';
import { openReplica } from '../harness/replica.ts';
import { runCli } from '../harness/run-cli.ts';

const RADIUS_SECRET = 'planted-radius-secret-77';
const PIN = '830274651973';
const WRONG_PIN = '618402957713';
const TYPED_AS_NAME = 'Planted-in-the-name-field-5';
const WRONG_PASSWORD = 'Planted-wrong-password-3';
const MAIL_PASSWORD = 'Planted-mail-password-9';
const ADMIN_PASSWORD = 'planted owner passphrase';

/** Where the first start leaves two secrets for the operator, who is told to take them away. */
const FOR_THE_OPERATOR = ['first-api-key', 'first-invitation'];

let slapd: TestSlapd;
let cluster: TestCluster;
let alice: Person;
const radiusPorts: number[] = [];
/** What must be readable nowhere, by what it is. */
const planted = new Map<string, string | Buffer>();

beforeAll(async () => {
  if (!hasSlapd) return;
  const free = await takeFreePorts(4);
  slapd = await startTestSlapd();
  cluster = await TestCluster.start({
    nodes: 2,
    configure: (config) => {
      const [authenticationPort, accountingPort] = [free.pop()!, free.pop()!];
      radiusPorts.push(authenticationPort);
      return { ...config, radius: { host: '127.0.0.1', authenticationPort, accountingPort } };
    },
  });
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await slapd?.stop();
});

describe.skipIf(!hasSlapd)('what only its owner may know', () => {
  it('is planted wherever the product takes it, and used', async () => {
    const api = cluster.api(await cluster.master());
    await importPeople(api, slapd, ['alice']);
    await addVpn(api, { secret: RADIUS_SECRET });
    await api.done('PATCH', '/api/v1/settings', {
      'mail.host': '127.0.0.1',
      'mail.user': 'countersign',
      'mail.password': MAIL_PASSWORD,
    });
    alice = await enrolPerson(api, 'alice');
    await enrolPeople(api, 'careful', 1);
    const seed = generateSecret();
    const authenticators = '/api/v1/users/careful-1/authenticators';
    await api.done('POST', authenticators, { type: 'totp', secret: encodeBase32(seed) });
    const made = await api.done<{ otpauth: string }>('POST', authenticators, { type: 'totp' });
    await api.done('PUT', '/api/v1/users/careful-1/pin', { pin: PIN, mustChange: false });
    const { codes } = await api.done<{ codes: string[] }>(
      'POST',
      '/api/v1/users/careful-1/recovery-codes',
    );
    const { code } = await api.done<{ code: string }>(
      'POST',
      '/api/v1/users/careful-1/enrolment-code',
    );
    const { key } = await api.done<{ key: string }>('POST', '/api/v1/api-keys', {
      name: 'planted',
      scopes: ['verify'],
    });
    const invitation = await acceptInvitation(await cluster.master());

    planted.set('a seed that was given', seed);
    planted.set(
      'a seed that was made',
      decodeBase32(new URL(made.otpauth).searchParams.get('secret')!),
    );
    planted.set('a PIN', PIN);
    planted.set('a wrong PIN', WRONG_PIN);
    planted.set('a recovery code', codes[0]!);
    planted.set('an enrolment code', code);
    planted.set('an API key', key);
    planted.set('the first API key', cluster.apiKey);
    planted.set('the invitation', invitation);
    planted.set("an owner's password", ADMIN_PASSWORD);
    planted.set('the secret of a RADIUS client', RADIUS_SECRET);
    planted.set("the directory account's password", slapd.reader.password);
    planted.set("somebody's password", slapd.personPassword);
    planted.set('a wrong password', WRONG_PASSWORD);
    planted.set('a password in the name field', TYPED_AS_NAME);
    planted.set("the mail server's password", MAIL_PASSWORD);
    await cluster.untilWhole();
  });

  it('is typed at both nodes, rightly and wrongly', async () => {
    for (const [index, node] of cluster.nodes.entries()) {
      const api = cluster.api(node);
      const verify = async (body: { username: string; code: string; pin?: string }) =>
        (await api.verify(body)).body;
      expect(await verify({ username: TYPED_AS_NAME, code: '123456' })).toMatchObject({
        reason: 'unknown_user',
      });
      const pin = { username: 'careful-1', code: '123456', pin: WRONG_PIN };
      expect(await verify(pin)).toMatchObject({ status: 'denied' });
      const to = { address: '127.0.0.1', port: radiusPorts[index]! };
      await using vpn = await RadiusDevice.open({ to, from: '127.0.0.1', secret: RADIUS_SECRET });
      const wrong = vpn.signIn('alice', `${WRONG_PASSWORD},${alice.comingCode()}`);
      expect((await vpn.ask(wrong)).kind).toBe('reject');
      const asName = vpn.signIn(TYPED_AS_NAME, 'whatever,123456');
      expect((await vpn.ask(asName)).kind).toBe('reject');
      const right = vpn.signIn('alice', `${slapd.personPassword},${alice.nextCode()}`);
      expect((await vpn.ask(right)).kind).toBe('accept');
    }
    const api = cluster.api(await cluster.master());
    await api.done('PATCH', '/api/v1/users/careful-1', { modes: { oath: 'code+pin' } });
  });

  it('is nowhere in what nodes keep: tables, the log, log files, backups', async () => {
    const [first] = cluster.nodes as [TestNode, ...TestNode[]];
    const passphraseFile = join(cluster.folder, 'passphrase');
    writeFileSync(passphraseFile, 'a passphrase of a test\n', { mode: 0o600 });
    const backup = join(first.folder, 'cluster.backup');
    const made = await runCli(first, [
      'backup',
      backup,
      '--events',
      '--passphrase-file',
      passphraseFile,
    ]);
    expect(made, made.stderr).toMatchObject({ code: 0 });
    await cluster.untilDigestsEqual();
    const tables = await Promise.all(cluster.nodes.map(textOfTables));
    for (const node of cluster.nodes) await node.stop();
    const kept: [where: string, bytes: Buffer][] = cluster.nodes.map((node, index) => [
      `${node.name}: tables as text`,
      Buffer.from(tables[index]!),
    ]);
    for (const node of cluster.nodes) kept.push(...filesOf(node));
    // Who cannot find what is there finds nothing anywhere.
    const places = (needle: string) =>
      kept.filter(([, bytes]) => bytes.includes(needle)).map(([where]) => where.split('/')[0]);
    for (const { name } of cluster.nodes) {
      expect(places('careful-1')).toContain(`${name}: tables as text`);
      expect(places('careful-1')).toContain(`${name}: postgres`);
      expect(places('"level"')).toContain(`${name}: logs`);
    }
    expect(places('$KV.').some((where) => where!.endsWith(': nats'))).toBe(true);
    expect(kept.map(([where]) => where)).toContain(`${first.name}: cluster.backup`);
    // Documents in the log are encrypted whole.
    expect(places('careful-1').filter((where) => where!.endsWith(': nats'))).toEqual([]);

    for (const [what, secret] of planted) {
      const found = kept.flatMap(([where, bytes]) =>
        formsOf(secret).some((form) => bytes.includes(form)) ? [where] : [],
      );
      expect({ what, found }).toEqual({ what, found: [] });
    }
  });
});

/** Makes the first owner, with a password and a token of their own. */
async function acceptInvitation(master: TestNode): Promise<string> {
  const invitation = readFileSync(join(master.folder, 'first-invitation'), 'utf8').trim();
  const secret = generateSecret();
  const code = hotp(secret, totpStep(Date.now(), 30), { algorithm: 'SHA1', digits: 6 });
  const accepted = { invitation, password: ADMIN_PASSWORD, secret: encodeBase32(secret), code };
  const reply = await fetch(`${master.url}/api/v1/invitations/accept`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(accepted),
  });
  expect(reply.status).toBe(201);
  planted.set("an owner's seed", secret);
  return invitation;
}

/** Every row of every table, as PostgreSQL prints it: large values are compressed in its files. */
async function textOfTables(node: TestNode): Promise<string> {
  await using db = openReplica(node);
  const tables = await db.sql<{ name: string }[]>`
    select quote_ident(table_name) as name from information_schema.tables
    where table_schema = 'public' and table_type = 'BASE TABLE'`;
  const texts: string[] = [];
  for (const { name } of tables) {
    const rows = await db.sql<{ row: string }[]>`
      select t::text as row from ${db.sql.unsafe(name)} t`;
    texts.push(...rows.map(({ row }) => row));
  }
  expect(texts.length).toBeGreaterThan(20);
  return texts.join('\n');
}

function filesOf(node: TestNode): [string, Buffer][] {
  const files = readdirSync(node.folder, { recursive: true, withFileTypes: true });
  return files
    .filter((entry) => entry.isFile() && !FOR_THE_OPERATOR.includes(entry.name))
    .map(({ parentPath, name }) => join(parentPath, name))
    .map((path) => [`${node.name}: ${relative(node.folder, path)}`, readFileSync(path)]);
}

/** As it may have been written down: as it is, in hex, base64 and base32, and as UTF-16. */
function formsOf(secret: string | Buffer): Buffer[] {
  const bytes = Buffer.from(secret);
  const hex = bytes.toString('hex');
  const texts = [hex, hex.toUpperCase(), encodeBase32(bytes)];
  texts.push(bytes.toString('base64').replace(/=+$/, ''), bytes.toString('base64url'));
  const wide = Buffer.from(bytes.toString('latin1'), 'utf16le');
  return [bytes, wide, ...[...new Set(texts)].map((text) => Buffer.from(text))];
}
