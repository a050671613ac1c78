import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '@countersign/testing';
import { encodeBase32, generateSecret, hotp, totpStep } from '@countersign/verification';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { TestCluster } from '../harness/cluster.ts';

const PASSWORD = 'correct horse battery';

let cluster: TestCluster;
let url: string;

beforeAll(async () => {
  cluster = await TestCluster.start({ nodes: 1, workers: 2 });
  url = cluster.nodes[0]!.url;
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

async function call(
  method: string,
  path: string,
  { body, token, why }: { body?: object; token?: string; why?: string } = {},
) {
  const reply = await fetch(`${url}/api/v1/${path}`, {
    method,
    headers: {
      ...(body && { 'content-type': 'application/json' }),
      ...(token && { authorization: `Bearer ${token}` }),
      ...(why && { 'countersign-reason': why }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
}

function readInvitation(): string {
  const file = join(cluster.nodes[0]!.folder, 'first-invitation');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  return readFileSync(file, 'utf8').trim();
}

it('the first owner accepts the invitation of the first start, signs in, acts and is signed out', async () => {
  const readOnceThere = () => {
    try {
      return readInvitation();
    } catch {
      return null;
    }
  };
  const invitation = await waitFor('the invitation', readOnceThere, { timeoutMs: 30_000 });
  const secret = generateSecret();
  const codeAt = (steps: number) =>
    hotp(secret, totpStep(Date.now(), 30) + steps, { algorithm: 'SHA1', digits: 6 });
  const accepted = { invitation, password: PASSWORD, secret: encodeBase32(secret) };
  const accept = () =>
    call('POST', 'invitations/accept', { body: { ...accepted, code: codeAt(0) } });
  expect(await accept()).toMatchObject({ status: 201, body: { username: 'admin' } });
  expect((await accept()).status).toBe(401);

  // One step ahead is accepted: a step that ends on the way spoils neither this nor the one before.
  const typed = { username: 'admin', password: PASSWORD, code: codeAt(1) };
  expect((await call('POST', 'sessions', { body: { ...typed, password: 'wrong' } })).status).toBe(
    401,
  );
  const signedIn = await call('POST', 'sessions', { body: typed });
  expect(signedIn).toMatchObject({ status: 201, body: { username: 'admin', roles: ['owner'] } });
  expect((await call('POST', 'sessions', { body: typed })).status).toBe(401);
  const token = String(signedIn.body.token);

  const body = { username: 'paul', roles: ['helpdesk'] };
  expect((await call('POST', 'administrators', { body, token })).body.code).toBe('reason_required');
  expect((await call('POST', 'administrators', { body, token, why: 'new' })).status).toBe(201);
  const list = await call('GET', 'administrators', { token });
  expect(list.body).toMatchObject({
    administrators: [
      { username: 'admin', state: 'active' },
      { username: 'paul', state: 'invited' },
    ],
  });
  expect((await call('POST', 'users', { body: { username: 'alice' }, token })).status).toBe(201);

  const exported = await call('POST', 'users/alice/export', { token, why: 'asked' });
  expect(exported).toMatchObject({ status: 200, body: { user: { username: 'alice' } } });
  const erased = await call('POST', 'users/alice/erase', { token, why: 'asked' });
  expect(erased.body).toMatchObject({ pseudonym: expect.stringMatching(/^erased-/) });
  const readEvents = () => cluster.api(cluster.nodes[0]!).done('GET', '/api/v1/events');
  await waitFor(
    'alice to be told by no event',
    async () => !JSON.stringify(await readEvents()).includes('alice'),
    { timeoutMs: 20_000 },
  );

  expect((await call('DELETE', 'sessions/current', { token })).status).toBe(200);
  expect((await call('GET', 'administrators', { token })).status).toBe(401);
  expect(JSON.stringify(await readEvents())).toContain('"actor":"admin"');
}, 120_000);
