import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { MemoryRadius, startApi } from './testing/index.ts';

let server: Awaited<ReturnType<typeof startApi>>;

beforeAll(async () => {
  server = await startApi();
  server.ports.addKey('reader', ['settings:read']);
  server.ports.addKey('people', ['users:write']);
});
afterAll(() => server.close());
beforeEach(() => {
  server.ports.commandReply = null;
  server.ports.commands.length = 0;
  Object.assign(server.ports.radius, new MemoryRadius());
});

async function call(method: string, path: string, body?: unknown, key = 'all') {
  const response = await fetch(`${server.url}/api/v1/radius${path}`, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const json = JSON.parse(text) as Record<string, unknown>;
  return { status: response.status, text, json, code: json.code };
}

const client = {
  name: 'VPN gateway',
  application: 'vpn',
  addresses: ['192.0.2.7/32', '2001:DB8::/48'],
  secret: 'HUSH-HUSH-HUSH-HUSH',
};
const target = {
  name: 'nps',
  servers: [{ host: 'nps1.test', port: 1812 }],
  secret: 'HUSH-HUSH-HUSH-HUSH',
};

it('clients and targets are added, listed, changed and removed, and never show a secret', async () => {
  for (const [path, given] of [
    ['/clients', client],
    ['/targets', target],
  ] as const) {
    const one = `${path}/${encodeURIComponent(given.name.toUpperCase())}`;
    const added = await call('POST', path, given);
    expect(added).toMatchObject({
      status: 201,
      json: { name: given.name, applied: true, warnings: [] },
    });
    const shown = await call('GET', one);
    expect(shown).toMatchObject({ status: 200, json: { id: added.json.id, name: given.name } });
    const listed = await call('GET', path);
    expect(listed.json).toEqual({ [path.slice(1)]: [shown.json] });
    const changed = await call('PATCH', one, { messageAuthenticator: 'off', secret: 'HUSH' });
    expect(changed.json).toMatchObject({
      messageAuthenticator: 'off',
      warnings: expect.arrayContaining([expect.stringContaining('at least 16')]),
    });
    for (const { text } of [added, shown, listed, changed]) {
      expect(text).not.toMatch(/HUSH|sealed|c2VhbGVk/);
    }
    expect((await call('DELETE', one)).status).toBe(200);
    expect((await call('GET', one)).status).toBe(404);
  }
  expect(server.ports.commands.map(({ name }) => name)).toEqual([
    'radius-client.add',
    'radius-client.set',
    'radius-client.remove',
    'radius-target.add',
    'radius-target.set',
    'radius-target.remove',
  ]);
});

it('networks reach the master in their one form, and the secret with them', async () => {
  await call('POST', '/clients', client);
  expect(server.ports.commands.at(-1)?.args).toEqual({
    client: { ...client, addresses: ['192.0.2.7', '2001:db8::/48'] },
  });
});

it('first factors are shown by name, and by id where nobody has it', async () => {
  const { radius } = server.ports;
  await call('POST', '/targets', target);
  await call('POST', '/clients', client);
  const gone = '00000000-0000-4000-8000-000000000000';
  const shownWith = async (firstFactor: (typeof radius.clients)[0]['firstFactor']) => {
    radius.clients[0]!.firstFactor = firstFactor;
    return (await call('GET', '/clients/vpn%20gateway')).json.firstFactor;
  };
  const id = radius.targets[0]!.id;
  expect(await shownWith({ kind: 'radius', target: id })).toEqual({
    kind: 'radius',
    target: 'nps',
  });
  expect(await shownWith({ kind: 'none' })).toEqual({ kind: 'none' });
  const everywhere = { kind: 'directory', directories: null } as const;
  expect(await shownWith(everywhere)).toEqual(everywhere);
  const nowhere = { kind: 'directory' as const, directories: [gone] };
  expect(await shownWith(nowhere)).toEqual(nowhere);
});

it('warns of what helps attackers', async () => {
  const { radius } = server.ports;
  await call('POST', '/clients', client);
  const warnings = async () => (await call('GET', '/clients/vpn%20gateway')).json.warnings;
  expect(await warnings()).toEqual([]);
  for (const messageAuthenticator of ['observe', 'off'] as const) {
    radius.clients[0]!.messageAuthenticator = messageAuthenticator;
    expect(await warnings()).toEqual([
      expect.stringMatching(
        new RegExp(`^messageAuthenticator ${messageAuthenticator}: .*CVE-2024-3596`),
      ),
    ]);
  }
  radius.clients[0]!.messageAuthenticator = 'require';
  radius.clients[0]!.firstFactor = { kind: 'none' };
  expect(await warnings()).toEqual([]);
  await server.ports.runCommand({
    name: 'application.add',
    args: { name: 'vpn', userMatch: 'pass' },
    caller: (await server.ports.authenticate({
      bearer: 'all',
      remoteAddress: '',
      local: false,
      isConfirmedLater: false,
    }))!,
    idempotencyKey: null,
    timeoutMs: 1000,
  });
  expect(await warnings()).toEqual([expect.stringContaining('nothing checked here')]);
  const everywhere = { addresses: ['192.0.2.0/24', '::/0'], secret: 'x'.repeat(16) };
  const { json } = await call('PATCH', '/clients/vpn%20gateway', everywhere);
  expect(json.warnings).toContainEqual(expect.stringContaining('addresses has ::/0'));
});

it.each([
  ['POST', '/clients', { ...client, addresses: ['192.0.2.0/16'] }],
  ['POST', '/clients', { ...client, addresses: ['vpn.test'] }],
  ['POST', '/clients', { ...client, secret: 'HUSH\n' }],
  ['POST', '/clients', { ...client, sealedSecret: 'HUSH' }],
  ['POST', '/clients', { ...client, firstFactor: { kind: 'radius' } }],
  ['POST', '/clients', { ...client, firstFactor: { kind: 'ldap' } }],
  ['POST', '/clients', { ...client, application: undefined }],
  ['POST', '/clients', { ...client, replies: [{ group: null, attribute: 'a b', value: 'x' }] }],
  ['PATCH', '/clients/x', {}],
  ['PATCH', '/clients/x', { id: '00000000-0000-4000-8000-000000000000' }],
  ['POST', '/targets', { ...target, servers: [{ host: 'a b', port: 1 }] }],
  ['POST', '/targets', { ...target, servers: [] }],
  ['POST', '/targets', { ...target, timeoutMs: 60_001 }],
  ['PATCH', '/targets/x', {}],
])('%s %s is refused with %j', async (method, path, body) => {
  const answer = await call(method, path, body);
  expect(answer.code).toBe('invalid_request');
  expect(answer.text).not.toContain('HUSH');
  expect(server.ports.commands).toEqual([]);
});

it('clients and targets are read and changed only with the rights for it', async () => {
  for (const [path, given] of [
    ['/clients', client],
    ['/targets', target],
  ] as const) {
    for (const [method, one, key] of [
      ['POST', path, 'reader'],
      ['PATCH', `${path}/x`, 'reader'],
      ['DELETE', `${path}/x`, 'reader'],
      ['GET', path, 'people'],
      ['GET', `${path}/x`, 'people'],
    ] as const) {
      const body = method === 'POST' ? given : method === 'PATCH' ? { secret: 'x' } : undefined;
      expect([method, one, (await call(method, one, body, key)).status]).toEqual([
        method,
        one,
        403,
      ]);
    }
  }
});
