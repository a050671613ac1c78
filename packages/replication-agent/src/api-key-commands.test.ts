import { randomUUID } from 'node:crypto';
import { listApiKeys } from '@countersign/database';
import { hashApiKey } from '@countersign/operations';
import { API_SCOPES } from '@countersign/verification';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Rights } from './authorise.ts';
import { rightBeyond } from './commands/add-api-key.ts';
import { startTestMaster } from './testing/start-test-master.ts';
import { useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
let master: Awaited<ReturnType<typeof startTestMaster>>;

beforeAll(async () => {
  master = await startTestMaster(test);
}, 60_000);

/** By the node's socket, or by whoever has that key. */
async function run(name: string, args: object, by?: { key: string; from?: string }, id?: string) {
  const command = master.command(name, args as Record<string, unknown>, 8000, id ?? randomUUID());
  const proof = by && { kind: 'api-key', secret: by.key, remoteAddress: by.from ?? '192.0.2.9' };
  return master.mastership.handle(proof ? { ...command, proof } : command);
}

async function addKey(args: object, by?: { key: string }, id?: string) {
  const reply = await run('api-key.add', args, by, id);
  if (reply.kind !== 'done') throw new Error(JSON.stringify(reply));
  return { id: String(reply.result.id), key: String(reply.result.key) };
}

describe('an API key', () => {
  it('is shown again to a repeat of its making, until it is revoked, and stored as a hash', async () => {
    const commandId = randomUUID();
    const wish = { name: 'vpn', scopes: ['verify', 'verify'], networks: ['192.0.2.0/24'] };
    const made = await addKey(wish, undefined, commandId);
    expect(made.key).toMatch(/^cs_[\w-]{43}$/);
    expect(await addKey(wish, undefined, commandId)).toEqual(made);
    const found = (await listApiKeys(master.db)).find(({ document }) => document.id === made.id);
    expect(found?.document).toMatchObject({
      name: 'vpn',
      secretHash: hashApiKey(made.key),
      scopes: ['verify'],
      applications: null,
      networks: ['192.0.2.0/24'],
      expiresAt: null,
    });
    const results = await master.db.sql`select command_results::text as row from command_results`;
    const events = await master.db.sql`select outbox::text as row from outbox`;
    expect(JSON.stringify([...results, ...events])).toContain(made.id);
    expect(JSON.stringify([...results, ...events])).not.toContain(made.key);
    await run('api-key.revoke', { id: made.id, evenLast: false });
    const late = await run('api-key.add', wish, undefined, commandId);
    expect(late).toMatchObject({ kind: 'done', result: { id: made.id } });
    expect(JSON.stringify(late)).not.toContain(made.key);
  });

  it('makes no other with more rights than its own', async () => {
    const expiresAt = new Date(Date.now() + 86_400_000).toISOString();
    const own = {
      name: 'desk',
      scopes: ['api-keys:write', 'verify'],
      applications: ['vpn'],
      networks: ['192.0.2.0/24'],
      expiresAt,
    };
    const by = await addKey(own);
    const wish = { ...own, name: 'made by desk' };
    for (const more of [
      { scopes: ['verify', 'users:write'] },
      { applications: null },
      { applications: ['vpn', 'portal'] },
      { networks: null },
      { networks: ['192.0.0.0/16'] },
      { expiresAt: null },
      { expiresAt: new Date(Date.now() + 2 * 86_400_000).toISOString() },
    ]) {
      expect(await run('api-key.add', { ...wish, ...more }, by)).toMatchObject({
        status: 403,
        code: 'forbidden',
        detail: expect.stringContaining('lack'),
      });
    }
    await addKey({ ...wish, scopes: ['verify'], networks: ['192.0.2.128/25'] }, by);
    const past = { ...wish, expiresAt: new Date(Date.now() - 1000).toISOString() };
    expect(await run('api-key.add', past)).toMatchObject({ status: 400 });
    expect(await run('api-key.add', { ...wish, scopes: [] })).toMatchObject({ status: 400 });
    expect(await run('api-key.add', { ...wish, networks: ['nowhere'] })).toMatchObject({
      status: 400,
    });
  });

  it('is refused by the master from another network than its own, and without the scope', async () => {
    const by = await addKey({ name: 'x', scopes: ['users:write'], networks: ['192.0.2.0/24'] });
    const wish = { username: randomUUID() };
    expect(await run('user.add', wish, { ...by, from: '198.51.100.7' })).toMatchObject({
      status: 401,
    });
    expect(await run('user.add', wish, by)).toMatchObject({ kind: 'done' });
    for (const name of ['user.change-pin', 'user.report-fraud', 'authenticator.enroll-with-code']) {
      expect(await run(name, wish, by)).toMatchObject({ status: 403, code: 'forbidden' });
    }
  });
});

describe('rights of an API key', () => {
  const all: Rights = {
    scopes: [...API_SCOPES],
    applications: null,
    networks: null,
    expiresAt: null,
  };

  it.each([
    ['2001:db8::/32', '2001:db8:1::/48', true],
    ['2001:db8::/32', '2001:db9::/48', false],
    ['2001:db8::/32', '192.0.2.0/24', false],
    ['0.0.0.0/0', '2001:db8::/32', false],
    ['192.0.2.0/24', '192.0.2.7/32', true],
    ['192.0.2.0/24', '192.0.2.0/23', false],
  ])('hold within %s the network %s: %s', (own, wanted, isHeld) => {
    const beyond = rightBeyond({ ...all, networks: [own] }, { ...all, networks: [wanted] });
    expect(beyond === null).toBe(isHeld);
  });
});
