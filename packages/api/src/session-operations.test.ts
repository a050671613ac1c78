import { emptyState } from '@countersign/verification';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildApi } from './build-api.ts';
import { MARK_MS } from './hold-until-next-mark.ts';
import type { StoredUser } from './ports.ts';
import { MemoryPorts, OLIVE } from './testing/index.ts';
import { silentLogger } from './testing/silent-logger.ts';

const ports = new MemoryPorts();
ports.addKey('all');
ports.administrators = [OLIVE];
const api = buildApi(ports, { logger: silentLogger() });
let url: string;
beforeAll(async () => {
  url = await api.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => api.close());

async function call(
  method: string,
  path: string,
  { body, bearer, reason }: { body?: object; bearer?: string; reason?: string } = {},
) {
  const reply = await fetch(`${url}/api/v1/${path}`, {
    method,
    headers: {
      ...(body && { 'content-type': 'application/json' }),
      ...(bearer && { authorization: `Bearer ${bearer}` }),
      ...(reason && { 'countersign-reason': reason }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
}

const signIn = (differs: object = {}) =>
  call('POST', 'sessions', {
    body: { username: 'olive', password: 'pass word', code: '123456', ...differs },
  });

describe('signing in', () => {
  it('takes no key, password and code at once, and gives a session', async () => {
    const reply = await signIn();
    expect(reply).toMatchObject({ status: 201, body: { token: 'css_owner', roles: ['owner'] } });
    expect(ports.sessions.typed.at(-1)).toEqual({
      username: 'olive',
      password: 'pass word',
      code: '123456',
      remoteAddress: '127.0.0.1',
    });
    expect((await call('POST', 'sessions', { body: { username: 'olive' } })).status).toBe(400);
    expect((await signIn({ username: 'away' })).status).toBe(503);
  });

  it('is denied in the same words and at the same marks, whoever it was', async () => {
    const start = performance.now();
    const wrong = await signIn({ code: '000000' });
    const tookMs = performance.now() - start;
    const nobody = await signIn({ username: 'nobody', code: '000000' });
    expect(wrong).toEqual(nobody);
    expect(wrong).toMatchObject({ status: 401, body: { code: 'sign_in_denied' } });
    expect(tookMs).toBeGreaterThan(MARK_MS - 10);
  });

  it('is stepped up by a session alone', async () => {
    const body = { code: '123456' };
    const path = 'sessions/current/step-up';
    expect((await call('POST', path, { body, bearer: 'css_owner' })).status).toBe(201);
    expect(ports.sessions.typed.at(-1)).toMatchObject({ token: 'css_owner', code: '123456' });
    expect((await call('POST', path, { body, bearer: 'all' })).body.code).toBe('no_session');
    expect((await call('POST', path, { body })).status).toBe(401);
  });

  it('tells whoever asks who they are', async () => {
    const key = await call('GET', 'sessions/current', { bearer: 'all' });
    expect(key.body).toMatchObject({ name: 'all', session: null });
    const session = await call('GET', 'sessions/current', { bearer: 'css_helpdesk' });
    expect(session.body).toMatchObject({ name: 'helpdesk', session: {} });
    expect((await call('GET', 'sessions/current')).status).toBe(401);
  });
});

describe('an invitation', () => {
  it('is looked at and accepted by whoever has it, and by nobody else', async () => {
    const look = (invitation: string) => call('POST', 'invitations/look', { body: { invitation } });
    expect((await look('csi_good')).body).toMatchObject({ username: 'olive' });
    const typed = { password: 'pass word', secret: 'ABC', code: '123456' };
    const accept = (invitation: string) =>
      call('POST', 'invitations/accept', { body: { invitation, ...typed } });
    const refused = await accept('csi_bad');
    expect(refused).toMatchObject({ status: 401, body: { code: 'invalid_invitation' } });
    expect(await look('csi_bad')).toEqual(refused);
    ports.commandReply = { kind: 'done', revision: 7, applied: true, result: {} };
    expect(await accept('csi_good')).toMatchObject({ status: 201, body: { username: 'olive' } });
    const command = ports.commands.at(-1)!;
    expect(command).toMatchObject({
      name: 'administrator.accept',
      args: typed,
      caller: { name: 'olive', proof: { kind: 'invitation', secret: 'csi_good' } },
    });
    // The proof alone carries it: arguments are hashed and may be told.
    expect(JSON.stringify(command.args)).not.toContain('csi_good');
  });
});

describe('administrators', () => {
  it('are shown without what they sign in with, to sessions alone', async () => {
    const reply = await call('GET', 'administrators', { bearer: 'css_auditor' });
    expect(reply.body).toMatchObject({ administrators: [{ username: 'olive', state: 'invited' }] });
    expect(JSON.stringify(reply.body)).not.toContain('aaaa');
    expect((await call('GET', 'administrators', { bearer: 'all' })).status).toBe(403);
    expect((await call('GET', 'administrators', { bearer: 'css_helpdesk' })).status).toBe(403);
  });

  it('are no API key’s business, whatever scopes it has', async () => {
    const operations = [
      ['GET', 'administrators'],
      ['POST', 'administrators'],
      ['PATCH', 'administrators/olive'],
      ['DELETE', 'administrators/olive'],
      ['DELETE', 'administrators/olive/sessions'],
      ['POST', 'administrators/olive/invitation'],
      ['POST', 'administrators/olive/recovery'],
    ];
    for (const [method = '', path = ''] of operations) {
      expect([path, (await call(method, path, { bearer: 'all' })).status]).toEqual([path, 403]);
      expect([path, (await call(method, path)).status]).toEqual([path, 401]);
    }
  });

  it('are recovered over the local socket alone', async () => {
    const path = 'administrators/olive/recovery';
    for (const bearer of ['css_owner', 'all']) {
      expect((await call('POST', path, { bearer })).status).toBe(403);
    }
  });

  it('are changed with a reason, in any script', async () => {
    const reason = 'löst ☎';
    ports.commandReply = { kind: 'done', revision: 7, applied: true, result: {} };
    const wish = { bearer: 'css_owner', body: { disabled: true } };
    const patch = (encoded: string) =>
      call('PATCH', 'administrators/olive', { ...wish, reason: encoded });
    expect((await patch(encodeURIComponent(reason))).status).toBe(200);
    expect(ports.commands.at(-1)?.caller.proof).toEqual({
      kind: 'session',
      token: 'css_owner',
      reason,
    });
    expect((await patch('%zz')).status).toBe(400);
    expect((await patch('a%1b[2J')).status).toBe(400);
    expect((await patch('x'.repeat(501))).status).toBe(400);
  });

  it('of the help desk help users, and see no secrets of theirs', async () => {
    ports.commandReply = null;
    await call('POST', 'users', { bearer: 'all', body: { username: 'alice' } });
    const help = (method: string, path: string, body?: object) =>
      call(method, `users/alice/${path}`, { bearer: 'css_helpdesk', ...(body && { body }) });
    expect((await help('POST', 'block', { reason: 'lost' })).status).toBe(200);
    expect((await help('POST', 'authenticators', { type: 'totp' })).status).toBe(403);
    expect((await help('POST', 'recovery-codes')).status).toBe(403);
    expect((await help('PUT', 'pin', { pin: '2580' })).status).toBe(403);
  });
});

describe('what is held about somebody', () => {
  it('is told without secrets, to whoever may change users and read events', async () => {
    ports.commandReply = null;
    await call('POST', 'users', { bearer: 'all', body: { username: 'erin' } });
    const at = Date.parse('2026-03-01T12:00:00.000Z') / 1000;
    const { document } = (await ports.findUser('erin')) as StoredUser;
    ports.states.set(document.id, {
      ...emptyState(),
      accepted: { 'a-token': [58_000_000, at] },
      lastWrong: { hmac: 'kept-hash', client: 'vpn', step: 1, at },
      texts: [at],
    });
    const reply = await call('POST', 'users/erin/export', { bearer: 'css_administrator' });
    expect(reply).toMatchObject({
      status: 200,
      body: {
        user: { username: 'erin' },
        removedAt: null,
        verification: {
          lastAccepted: { 'a-token': '2026-03-01T12:00:00.000Z' },
          failures: { code: { failures: 0, lockedUntil: null } },
          textsSent: ['2026-03-01T12:00:00.000Z'],
        },
        events: [],
        isCut: false,
      },
    });
    expect(JSON.stringify(reply.body)).not.toMatch(/kept-hash|58000000|sealed|hash/i);
    expect(ports.commands.at(-1)).toMatchObject({
      name: 'user.export',
      args: { username: 'erin' },
    });
    ports.addKey('writer', ['users:write']);
    for (const bearer of ['writer', 'css_auditor', 'css_helpdesk']) {
      const denied = await call('POST', 'users/erin/export', { bearer });
      expect([bearer, denied.status]).toEqual([bearer, 403]);
    }
  });

  it('is not told where the master refuses', async () => {
    ports.commandReply = {
      kind: 'refused',
      status: 403,
      code: 'second_factor_too_old',
      detail: '',
    };
    const reply = await call('POST', 'users/erin/export', { bearer: 'css_owner' });
    expect(reply).toMatchObject({ status: 403, body: { code: 'second_factor_too_old' } });
    expect(reply.body).not.toHaveProperty('user');
  });

  it('is erased with a pseudonym in its place', async () => {
    const result = { id: 'x', pseudonym: 'erased-0123456789ab' };
    ports.commandReply = { kind: 'done', revision: 9, applied: true, result };
    const reply = await call('POST', 'users/erin/erase', { bearer: 'css_owner' });
    expect(reply.body).toEqual({ ...result, revision: 9, applied: true });
    const denied = await call('POST', 'users/erin/erase', { bearer: 'css_helpdesk' });
    expect(denied.status).toBe(403);
  });
});
