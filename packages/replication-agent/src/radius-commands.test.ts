import { readSettings } from '@countersign/database';
import { openRadiusSecret } from '@countersign/operations';
import type { RadiusClientDocument, RadiusTargetDocument } from '@countersign/verification';
import { beforeEach, describe, expect, it } from 'vitest';
import { scopeOf, touchedBy } from './plan-command.ts';
import { useTestCommands } from './testing/use-test-commands.ts';
import { useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const tables = [
  'documents',
  'applications',
  'directories',
  'radius_clients',
  'radius_targets',
  'command_results',
  'applied',
];
const { db, keys, plan, run, refusalOf } = useTestCommands(test, {
  tables,
  now: new Date('2026-05-01T12:00:00.000Z'),
});

beforeEach(async () => {
  await run('application.add', { name: 'vpn' });
});

async function detailOf(name: string, args: object): Promise<string> {
  const planned = await plan(name, args);
  return planned.kind === 'refused' ? planned.detail : planned.kind;
}

const given = {
  name: 'VPN gateway',
  application: 'vpn',
  addresses: ['192.0.2.7', '10.0.0.0/8'],
  secret: 'HUSH-HUSH-HUSH-HUSH',
};
const client = (fields: object = {}) => ({ client: { ...given, ...fields } });
const addClient = (fields: object = {}) => run('radius-client.add', client(fields));
const setClient = (changes: object) =>
  run('radius-client.set', { name: given.name.toLowerCase(), changes });
const refusalOfAdding = (fields: object) => refusalOf('radius-client.add', client(fields));
const refusalOfSetting = (changes: object) =>
  refusalOf('radius-client.set', { name: given.name, changes });

const nps = { name: 'nps', servers: [{ host: 'nps1.test', port: 1812 }], secret: 'HUSH-of-target' };
const addTarget = (fields: object = {}) =>
  run('radius-target.add', { target: { ...nps, ...fields } });

async function stored(): Promise<RadiusClientDocument> {
  return (await readSettings(db())).radiusClients[0]!;
}

async function storedTarget(): Promise<RadiusTargetDocument> {
  return (await readSettings(db())).radiusTargets[0]!;
}

describe('radius-client.add', () => {
  it('fills in what is safe, and keeps the secret sealed and out of results and events', async () => {
    const planned = await addClient();
    expect(JSON.stringify(planned)).not.toContain('HUSH');
    expect(planned.event.details).toEqual({
      radiusClient: 'VPN gateway',
      application: 'vpn',
      addresses: ['192.0.2.7', '10.0.0.0/8'],
      messageAuthenticator: 'require',
      firstFactor: 'directory',
    });
    const document = await stored();
    expect(document).toMatchObject({
      enabled: true,
      messageAuthenticator: 'require',
      firstFactor: { kind: 'directory', directories: null },
      commaCode: true,
      appendedCode: false,
      callingStation: 'text',
      isBalancer: false,
    });
    expect(openRadiusSecret(keys().seed, document).toString()).toBe(given.secret);
  });

  it('moves the revision of the settings, so that workers read them anew', async () => {
    const before = (await readSettings(db())).revision;
    await addClient();
    expect((await readSettings(db())).revision).toBe(before + 1);
    await addTarget();
    expect((await readSettings(db())).revision).toBe(before + 2);
  });

  it('writes networks in one form, and refuses one that another client has', async () => {
    await addClient({ addresses: [' 192.0.2.7/32', '::ffff:192.0.2.8', '2001:DB8:0::/48'] });
    expect((await stored()).addresses).toEqual(['192.0.2.7', '192.0.2.8', '2001:db8::/48']);
    const other = (addresses: string[]) => refusalOfAdding({ name: 'other', addresses });
    expect(await other(['::ffff:192.0.2.7'])).toBe('409 radius_address_taken');
    expect(await other(['2001:db8::/48'])).toBe('409 radius_address_taken');
    // Of two that hold an address the longer one goes.
    expect(await other(['192.0.2.0/24', '2001:db8::/64'])).toBe('change');
  });

  it.each([
    ['bits behind the prefix', { addresses: ['192.0.2.7/24'] }],
    ['a range', { addresses: ['192.0.2.1-192.0.2.9'] }],
    ['a host name', { addresses: ['vpn.test'] }],
    ['one network twice', { addresses: ['192.0.2.7', '192.0.2.7/32'] }],
    ['no address', { addresses: [] }],
    ['no secret', { secret: '' }],
    ['a secret that is too long', { secret: 'é'.repeat(65) }],
    ['a secret with a line break', { secret: 'HUSH\n' }],
    ['a secret with a space behind it, which nobody sees', { secret: 'HUSH ' }],
    ['a wait that is too long', { waitSeconds: 121 }],
    ['another length of codes', { codeLength: 9 }],
    ['a name with control characters', { name: 'a\u001b[2J' }],
    ['an unknown field', { shoeSize: 43 }],
    ['a reply that is too long', { replies: [reply('Class', 'x'.repeat(254))] }],
    ['a reply without a value', { replies: [reply('Class', '')] }],
  ])('refuses %s', async (_, fields) => {
    expect(await refusalOfAdding(fields)).toBe('400 invalid_request');
    expect(await detailOf('radius-client.add', client(fields))).not.toContain('HUSH');
  });

  it('wants an application, directories and a target that there are', async () => {
    expect(await refusalOfAdding({ application: 'vpm' })).toBe('404 unknown_application');
    expect(await refusalOfAdding({ application: 'VPN' })).toBe('change');
    const directories = { kind: 'directory', directories: ['corp'] };
    expect(await refusalOfAdding({ firstFactor: directories })).toBe('404 unknown_directory');
    const target = { kind: 'radius', target: 'NPS' };
    expect(await refusalOfAdding({ firstFactor: target })).toBe('404 unknown_radius_target');
    await addTarget();
    await addClient({ firstFactor: target });
    const { id } = await storedTarget();
    expect((await stored()).firstFactor).toEqual({ kind: 'radius', target: id });
  });

  it('asks no RADIUS target for an application that passes whoever is no user (rule 2)', async () => {
    await addTarget();
    await addClient({ firstFactor: { kind: 'radius', target: 'NPS' } });
    const passing = { name: 'VPN', changes: { userMatch: 'pass' } };
    expect(await refusalOf('application.set', passing)).toBe('409 user_match_needs_directory');
    expect(await detailOf('application.set', passing)).toContain('VPN gateway');
    await setClient({ firstFactor: { kind: 'directory', directories: null } });
    await run('application.set', passing);
    const radius = { firstFactor: { kind: 'radius', target: 'NPS' } };
    expect(await refusalOfSetting(radius)).toBe('409 user_match_needs_directory');
    const other = { ...radius, name: 'other', addresses: ['192.0.2.9'] };
    expect(await refusalOfAdding(other)).toBe('409 user_match_needs_directory');
    await run('application.set', { name: 'vpn', changes: { userMatch: 'require' } });
    await setClient(radius);
  });

  it('refuses a name that is taken, in any case of its letters', async () => {
    await addClient();
    const again = { name: 'vpn GATEWAY', addresses: ['192.0.2.9'] };
    expect(await refusalOfAdding(again)).toBe('409 radius_client_name_taken');
  });

  it('expects no appended code where no password comes', async () => {
    const none = { firstFactor: { kind: 'none' }, appendedCode: true };
    expect(await refusalOfAdding(none)).toBe('400 invalid_radius_client');
  });

  it('expects an appended code only where it is mandatory: not where a question can follow (rule 22)', async () => {
    expect(await refusalOfAdding({ appendedCode: true })).toBe('400 invalid_radius_client');
    await expect(addClient({ appendedCode: true, canChallenge: false })).resolves.toBeDefined();
  });

  it('takes replies by name or by numbers, and refuses what must not or cannot be set', async () => {
    const good = [reply('filter-id', 'vpn'), reply('9/1', 'ip:addr=1')];
    await expect(addClient({ replies: good })).resolves.toBeDefined();
    expect((await stored()).replies.map(({ attribute }) => attribute)).toEqual([
      'Filter-Id',
      '9/1',
    ]);
    const refused = [
      reply('User-Password', 'x'),
      reply('State', 'x'),
      reply('Message-Authenticator', 'x'),
      reply('Proxy-State', 'x'),
      reply('MS-MPPE-Send-Key', 'x'),
      // The same by its numbers.
      reply('311/16', 'x'),
      reply('No-Such-Thing', 'x'),
      reply('16777216/1', 'x'),
      reply('9/256', 'x'),
      reply('Session-Timeout', 'soon'),
      reply('Framed-IP-Address', '2001:db8::1'),
      reply('9/1', 'x'.repeat(248)),
    ];
    for (const one of refused) {
      expect([one, await refusalOfSetting({ replies: [one] })]).toEqual([
        one,
        '400 invalid_attribute',
      ]);
    }
    const many = Array.from({ length: 20 }, () => reply('Class', 'x'.repeat(200)));
    expect(await refusalOfSetting({ replies: many })).toBe('400 invalid_attribute');
  });
});

function reply(attribute: string, value: string, group: string | null = 'staff') {
  return { group, attribute, value };
}

describe('radius-client.set', () => {
  beforeEach(async () => {
    await addClient();
  });

  it('tells what changed by its name, and changes nothing where nothing differs', async () => {
    const planned = await setClient({ waitSeconds: 30, enabled: true });
    expect(planned.event.details).toEqual({ radiusClient: 'VPN gateway', waitSeconds: 30 });
    expect(await refusalOfSetting({ waitSeconds: 30, secret: given.secret })).toBe('unchanged');
    const first = { kind: 'none' };
    const { details } = (await setClient({ firstFactor: first })).event;
    expect(details).toEqual({ radiusClient: 'VPN gateway', firstFactor: first });
  });

  it('asks for the secret again before an address shares it that did not (rule 25)', async () => {
    const more = { addresses: ['192.0.2.7', '10.0.0.0/8', '192.0.2.66'] };
    expect(await refusalOfSetting(more)).toBe('400 secret_required');
    expect(await refusalOfSetting({ addresses: ['10.0.0.0/7'] })).toBe('400 secret_required');
    const planned = await setClient({ ...more, secret: 'HUSH-another-one' });
    expect(JSON.stringify(planned)).not.toContain('HUSH');
    expect(planned.event.details).toMatchObject({ ...more, secret: 'sealed anew' });
    expect(openRadiusSecret(keys().seed, await stored()).toString()).toBe('HUSH-another-one');
  });

  it('keeps the secret where addresses are taken away or stand in another order', async () => {
    await setClient({ addresses: ['10.0.0.0/8', '192.0.2.7'] });
    expect(openRadiusSecret(keys().seed, await stored()).toString()).toBe(given.secret);
    await setClient({ addresses: ['10.0.0.0/8'] });
    const document = await stored();
    expect(openRadiusSecret(keys().seed, document).toString()).toBe(given.secret);
    const led = { ...document, addresses: ['192.0.2.66'] };
    expect(() => openRadiusSecret(keys().seed, led)).toThrow('another context');
  });

  it('gives it another name, unless another client has it', async () => {
    await addClient({ name: 'other', addresses: ['192.0.2.9'] });
    expect(await refusalOfSetting({ name: 'OTHER' })).toBe('409 radius_client_name_taken');
    await setClient({ name: 'VPN Gateway' });
    expect(await refusalOf('radius-client.set', { name: 'x', changes: {} })).toBe(
      '404 unknown_radius_client',
    );
  });

  it('is removed, and its networks are free', async () => {
    const planned = await run('radius-client.remove', { name: 'vpn gateway' });
    expect(planned.event.details).toEqual({ radiusClient: 'VPN gateway' });
    await addClient({ name: 'next' });
    expect(await stored()).toMatchObject({ name: 'next' });
  });

  it('keeps its application from being removed or called otherwise, but not from being changed', async () => {
    expect(await refusalOf('application.remove', { name: 'vpn' })).toBe('409 application_in_use');
    const renamed = { name: 'vpn', changes: { name: 'tunnel' } };
    expect(await refusalOf('application.set', renamed)).toBe('409 application_in_use');
    await run('application.set', { name: 'vpn', changes: { name: 'VPN', enabled: false } });
    await run('radius-client.remove', { name: given.name });
    await run('application.remove', { name: 'vpn' });
  });

  it('keeps its directories from being removed', async () => {
    const directory = {
      name: 'corp',
      type: 'ldap',
      servers: ['ldaps://ldap.test'],
      baseDn: 'dc=corp',
    };
    await run('directory.add', { directory });
    await setClient({ firstFactor: { kind: 'directory', directories: ['CORP'] } });
    expect(await refusalOf('directory.remove', { name: 'corp' })).toBe('409 directory_in_use');
    await setClient({ firstFactor: { kind: 'directory', directories: null } });
    await run('directory.remove', { name: 'corp' });
  });
});

describe('RADIUS targets', () => {
  it('are added with what is safe, and their secret is sealed', async () => {
    const planned = await addTarget({ passAttributes: ['class', 'CLASS', '14988/3'] });
    expect(JSON.stringify(planned)).not.toContain('HUSH');
    const document = await storedTarget();
    expect(document).toMatchObject({
      messageAuthenticator: 'require',
      timeoutMs: 12_000,
      passAttributes: ['Class', '14988/3'],
    });
    expect(openRadiusSecret(keys().seed, document).toString()).toBe(nps.secret);
    expect(await refusalOf('radius-target.add', { target: { ...nps, name: 'NPS' } })).toBe(
      '409 radius_target_name_taken',
    );
  });

  it.each([
    ['no server', { servers: [] }, 'invalid_request'],
    [
      'a server twice',
      { servers: [...nps.servers, { host: 'NPS1.test', port: 1812 }] },
      'invalid_request',
    ],
    ['a URL for a server', { servers: [{ host: 'http://nps', port: 1812 }] }, 'invalid_request'],
    ['a port that there is not', { servers: [{ host: 'nps', port: 65_536 }] }, 'invalid_request'],
    ['what goes from hop to hop', { passAttributes: ['Proxy-State'] }, 'invalid_attribute'],
    ['what is no attribute', { passAttributes: ['Shoe-Size'] }, 'invalid_attribute'],
  ])('are refused with %s', async (_, fields, code) => {
    const target = { ...nps, ...fields };
    expect(await refusalOf('radius-target.add', { target })).toBe(`400 ${code}`);
  });

  it.each(['10.0.0.5:abc', ':::', '300.1.1.1', '10.0.0', 'a..b', '-a', 'fe80::1%eth0'])(
    'are refused with %s for a server',
    async (host) => {
      const target = { ...nps, servers: [{ host, port: 1812 }] };
      expect(await refusalOf('radius-target.add', { target })).toBe('400 invalid_request');
    },
  );

  it('ask for the secret again before it is used with another server', async () => {
    await addTarget({ servers: [...nps.servers, { host: '192.0.2.5', port: 1812 }] });
    const set = (changes: object) => ({ name: 'nps', changes });
    const moved = set({ servers: [{ host: 'nps1.test', port: 1645 }] });
    expect(await refusalOf('radius-target.set', moved)).toBe('400 secret_required');
    await run('radius-target.set', set({ servers: nps.servers, timeoutMs: 3000 }));
    expect(openRadiusSecret(keys().seed, await storedTarget()).toString()).toBe(nps.secret);
    const planned = await run('radius-target.set', set({ ...moved.changes, secret: 'HUSH-new' }));
    expect(JSON.stringify(planned)).not.toContain('HUSH');
    expect(openRadiusSecret(keys().seed, await storedTarget()).toString()).toBe('HUSH-new');
  });

  it('stay as long as a client sends passwords there', async () => {
    await addTarget();
    await addClient({ firstFactor: { kind: 'radius', target: 'nps' } });
    const detail = await detailOf('radius-target.remove', { name: 'NPS' });
    expect(detail).toBe('nps is the first factor of the RADIUS client VPN gateway');
    await setClient({ firstFactor: { kind: 'none' } });
    await run('radius-target.remove', { name: 'NPS' });
    expect((await readSettings(db())).radiusTargets).toEqual([]);
  });
});

it('all of it takes the right to change settings, and waits for all that is in flight', () => {
  for (const what of ['radius-client', 'radius-target']) {
    for (const verb of ['add', 'set', 'remove']) {
      expect(scopeOf(`${what}.${verb}`)).toBe('settings:write');
      expect(touchedBy(`${what}.${verb}`, { name: 'x' })).toBe('everything');
    }
  }
});
