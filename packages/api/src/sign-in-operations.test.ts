import type { ApiScope } from '@countersign/verification';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ENROLMENT_CODE, startApi } from './testing/index.ts';

type Server = Awaited<ReturnType<typeof startApi>>;
let server: Server;

beforeAll(async () => {
  server = await startApi();
});
afterAll(() => server.close());
beforeEach(() => {
  server.ports.commandReply = null;
});

async function call(method: string, path: string, body?: unknown, key = 'all') {
  const response = await fetch(server.url + path, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const json = (await response.json()) as Record<string, unknown>;
  return { status: response.status, json };
}

/** Status, and the code of a problem. */
async function refused(method: string, path: string, body?: unknown, key?: string) {
  const { status, json } = await call(method, path, body, key);
  return `${status} ${String(json.code)}`;
}

async function addUser(username: string): Promise<string> {
  await call('POST', '/api/v1/users', { username });
  return `/api/v1/users/${username}`;
}

function lastArgs() {
  return server.ports.commands.at(-1)?.args;
}

describe('how a user signs in', () => {
  it('is set with method, modes and language, and shown', async () => {
    const path = await addUser('alice');
    const changed = await call('PATCH', path, {
      method: 'text',
      modes: { text: 'otp+pin' },
      language: 'nl',
    });
    expect(changed).toMatchObject({
      status: 200,
      json: { method: 'text', modes: { text: 'otp+pin' }, language: 'nl' },
    });
    for (const body of [
      { method: 'recovery' },
      { modes: { oath: 'pin' } },
      { modes: { pigeon: 'code' } },
      { language: 'Dutch' },
    ]) {
      expect(await refused('PATCH', path, body)).toBe('400 invalid_request');
    }
  });

  it('is exempted and bypassed only for a time, with a reason, and shows without an id to spend', async () => {
    const path = await addUser('bob');
    const until = new Date(Date.now() + 86_400_000).toISOString();
    const exempted = await call('PUT', `${path}/exemption`, { reason: 'broken arm', until });
    expect(exempted.json).toMatchObject({ exempt: { reason: 'broken arm', by: 'test', until } });
    expect(await refused('PUT', `${path}/exemption`, { until })).toBe('400 invalid_request');
    expect(await refused('PUT', `${path}/exemption`, { reason: 'x' })).toBe('400 invalid_request');
    expect((await call('DELETE', `${path}/exemption`)).json).toMatchObject({ exempt: null });

    const bypassed = await call('POST', `${path}/bypass`, { reason: 'lost', seconds: 60 });
    expect(bypassed.json.bypass).toEqual({
      reason: 'lost',
      by: 'test',
      at: expect.any(String),
      expiresAt: expect.any(String),
    });
    for (const body of [{}, { reason: 'x', seconds: 9 }, { reason: '\u001b', seconds: 60 }]) {
      expect(await refused('POST', `${path}/bypass`, body)).toBe('400 invalid_request');
    }
    expect((await call('DELETE', `${path}/bypass`)).json).toMatchObject({ bypass: null });
  });

  it('takes a PIN that is never shown again, not even as a hash', async () => {
    const path = await addUser('carol');
    const set = await call('PUT', `${path}/pin`, { pin: '7391' });
    expect(set.json.pin).toEqual({ setAt: expect.any(String), mustChange: true });
    expect(lastArgs()).toEqual({ username: 'carol', pin: '7391', mustChange: true });
    expect(JSON.stringify(set.json)).not.toMatch(/7391|hash|salt/);
    const change = { pin: '7391', newPin: '5280' };
    const changed = await call('POST', `${path}/pin/change`, change);
    expect(changed.json).toEqual({ revision: expect.any(Number), applied: true });
    const wrong = { ...change, pin: '1' };
    expect(await refused('POST', `${path}/pin/change`, wrong)).toBe('403 wrong_pin');
    expect(await refused('PUT', `${path}/pin`, { pin: '1'.repeat(65) })).toBe(
      '400 invalid_request',
    );
    expect((await call('DELETE', `${path}/pin`)).json).toMatchObject({ pin: null });
  });

  it('has recovery codes and an enrolment code that are shown once and counted afterwards', async () => {
    const path = await addUser('dave');
    const made = await call('POST', `${path}/recovery-codes`, { count: 3 });
    expect(made).toMatchObject({ status: 201, json: { codes: expect.any(Array), applied: true } });
    const [code] = made.json.codes as string[];
    const opened = await call('POST', `${path}/enrolment-code`, { days: 2 });
    expect(opened).toMatchObject({ status: 201, json: { code: ENROLMENT_CODE } });
    const shown = await call('GET', path);
    expect(shown.json).toMatchObject({
      recoveryCodes: 3,
      enrolment: { by: 'test', expiresAt: opened.json.expiresAt },
    });
    expect(JSON.stringify(shown.json)).not.toContain(code);
    expect(JSON.stringify(shown.json)).not.toMatch(/efef|codeHash|0000000/);
    expect(await refused('POST', `${path}/recovery-codes`, { count: 17 })).toBe(
      '400 invalid_request',
    );
    expect(await refused('POST', `${path}/enrolment-code`, { days: 0 })).toBe(
      '400 invalid_request',
    );
  });
});

describe('an enrolment', () => {
  it('by code needs only the scope for it, and tells nobody who exists', async () => {
    await addUser('erin');
    server.ports.addKey('enroller', ['enrol']);
    const wish = { username: 'erin', enrolmentCode: ENROLMENT_CODE, type: 'totp' };
    const enrolled = await call('POST', '/api/v1/enrolments', wish, 'enroller');
    expect(enrolled).toMatchObject({
      status: 201,
      json: { id: expect.any(String), otpauth: expect.stringMatching(/^otpauth:/) },
    });
    const wrong = { ...wish, enrolmentCode: 'XXXX' };
    expect(await refused('POST', '/api/v1/enrolments', wrong, 'enroller')).toBe(
      '403 enrolment_refused',
    );
    server.ports.addKey('verifier', ['verify', 'users:read']);
    expect(await refused('POST', '/api/v1/enrolments', wish, 'verifier')).toBe('403 forbidden');
  });

  it('of a phone takes a number and nothing of a token, and the other way round', async () => {
    const path = `${await addUser('frank')}/authenticators`;
    const phone = { type: 'phone', number: '+31612345678', use: 'backup' };
    expect(await call('POST', path, phone)).toMatchObject({ status: 201, json: { otpauth: null } });
    expect((await call('GET', path)).json.authenticators).toMatchObject([
      { type: 'phone', number: '+31612345678', use: 'backup', vouchedBy: 'test' },
    ]);
    for (const body of [
      { type: 'phone' },
      { ...phone, secret: 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ' },
      { ...phone, extension: '1#2' },
      { type: 'totp', number: '+31612345678' },
    ]) {
      expect(await refused('POST', path, body)).toBe('400 invalid_request');
    }
  });
});

describe('a fraud report', () => {
  it('needs the scope verify, and tells who exists only to keys that may read reasons', async () => {
    const path = await addUser('grace');
    const withScopes = (name: string, scopes: ApiScope[]) => server.ports.addKey(name, scopes);
    withScopes('front', ['verify']);
    withScopes('desk', ['verify', 'reasons:read']);
    const stranger = await call('POST', `${path}/fraud`, { reason: 'not me' }, 'front');
    expect(stranger).toEqual({ status: 200, json: { reported: true } });
    expect(lastArgs()).toEqual({ username: 'grace', reason: 'not me' });
    const nobody = '/api/v1/users/nobody/fraud';
    expect(await call('POST', nobody, {}, 'front')).toEqual(stranger);
    expect(await refused('POST', nobody, {}, 'desk')).toBe('404 unknown_user');
    const told = await call('POST', `${path}/fraud`, undefined, 'desk');
    expect(told.json).toEqual({ reported: true, blocked: true });
    withScopes('reader', ['users:read']);
    expect(await refused('POST', `${path}/fraud`, {}, 'reader')).toBe('403 forbidden');
  });
});

describe('an API key', () => {
  it('is made with its rights and shown once', async () => {
    const wish = {
      name: 'vpn',
      scopes: ['verify'],
      applications: ['vpn'],
      networks: ['192.0.2.0/24'],
    };
    const made = await call('POST', '/api/v1/api-keys', wish);
    expect(made).toMatchObject({ status: 201, json: { key: 'cs_shown-once', applied: true } });
    const listed = await call('GET', '/api/v1/api-keys');
    expect(listed.json.apiKeys).toMatchObject([{ ...wish, id: made.json.id, expiresAt: null }]);
    expect(JSON.stringify(listed.json)).not.toMatch(/cs_|cdcd/);
    for (const body of [
      { ...wish, scopes: [] },
      { ...wish, scopes: ['everything'] },
      { ...wish, networks: ['192.0.2.1'] },
      { ...wish, expiresAt: 'tomorrow' },
      { scopes: ['verify'] },
    ]) {
      expect(await refused('POST', '/api/v1/api-keys', body)).toBe('400 invalid_request');
    }
  });
});
