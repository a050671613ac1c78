import { randomUUID } from 'node:crypto';
import { readSettings } from '@countersign/database';
import { mailServerOf, openSetting, phonePolicyOf, textProvidersOf } from '@countersign/operations';
import type { Settings } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { scopeOf } from './plan-command.ts';
import { useTestCommands } from './testing/use-test-commands.ts';
import { useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const now = new Date('2026-05-01T12:00:00.000Z');
const tables = ['documents', 'settings_groups', 'applications', 'command_results', 'applied'];
const { db, keys, plan, run, refusalOf } = useTestCommands(test, { tables, now });

const set = (changes: object) => run('settings.set', { changes });
const settingsNow = async (): Promise<Settings> => (await readSettings(db())).settings;

describe('settings.set', () => {
  it('changes what it names, of one group, and what is so already changes nothing', async () => {
    const { document, event } = await set({ 'lockout.failures': 7, 'lockout.resetMinutes': 20 });
    expect(document).toMatchObject({ kind: 'settings', id: 'lockout', removed: false });
    expect(event.details).toEqual({ 'lockout.failures': 7, 'lockout.resetMinutes': 20 });
    expect((await settingsNow()).lockout).toMatchObject({ failures: 7, resetMinutes: 20 });
    expect(await refusalOf('settings.set', { changes: { 'lockout.failures': 7 } })).toBe(
      'unchanged',
    );
    const back = await set({ 'lockout.failures': null });
    expect(back.event.details).toEqual({ 'lockout.failures': 'default' });
    expect((await settingsNow()).lockout).toMatchObject({ failures: 5, resetMinutes: 20 });
  });

  it.each([
    ['nothing', {}, '400 invalid_request'],
    ['two groups', { 'lockout.failures': 7, 'failover.mode': 'manual' }, '400 one_group'],
    ['an unknown setting', { 'lockout.x': 7 }, '400 invalid_setting'],
    ['a wrong value', { 'lockout.failures': 0 }, '400 invalid_setting'],
    ['a value of no type', { 'lockout.failures': { x: 1 } }, '400 invalid_request'],
    [
      'too many',
      Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`withoutQuorum.${i}`, 1])),
      '400 invalid_request',
    ],
  ])('refuses %s', async (_, changes, refusal) => {
    expect(await refusalOf('settings.set', { changes })).toBe(refusal);
  });

  it('keeps a secret sealed, and in no result or event', async () => {
    const password = 'HUSH-password';
    const changes = { 'mail.host': 'mail.example.org', 'mail.password': password };
    const planned = await set(changes);
    expect(planned.event.details).toMatchObject({ 'mail.password': 'set' });
    expect(JSON.stringify(planned)).not.toContain('HUSH');
    const settings = await settingsNow();
    expect(JSON.stringify(settings)).not.toContain('HUSH');
    expect(openSetting(keys().seed, settings, 'mail.password')).toBe(password);
    expect(openSetting(keys().seed, settings, 'text.providers')).toBeNull();
    // The same once more is no change, though every sealing looks different.
    expect(await refusalOf('settings.set', { changes })).toBe('unchanged');
    await set({ 'mail.password': 'other' });
    expect(openSetting(keys().seed, await settingsNow(), 'mail.password')).toBe('other');
    await set({ 'mail.password': null });
    expect((await settingsNow()).mail.password).toBeNull();
  });

  it('asks for a secret again where it would be sent somewhere else (rule 25)', async () => {
    await set({ 'mail.host': 'mail.example.org', 'mail.password': 'HUSH' });
    const moving = { 'mail.host': 'evil.example' };
    expect(await refusalOf('settings.set', { changes: moving })).toBe('400 secret_required');
    const downgrade = { 'mail.security': 'plain' };
    expect(await refusalOf('settings.set', { changes: downgrade })).toBe('400 secret_required');
    await set({ ...moving, 'mail.password': 'HUSH' });
    expect(openSetting(keys().seed, await settingsNow(), 'mail.password')).toBe('HUSH');
  });

  it('leaves a secret worthless to whoever changes its place in the tables', async () => {
    await set({ 'mail.host': 'mail.example.org', 'mail.password': 'HUSH' });
    await db().sql`update settings_groups set document = document || '{"host": "evil.example"}'`;
    const settings = await settingsNow();
    expect(settings.mail.host).toBe('evil.example');
    expect(() => openSetting(keys().seed, settings, 'mail.password')).toThrow('another context');
  });
});

describe('settings of delivery', () => {
  const twilio = {
    kind: 'twilio',
    name: 'first',
    accountSid: 'AC1',
    secret: 'HUSH',
    from: '12345',
  };
  const gateway = { kind: 'generic-http', name: 'second', url: 'https://sms.example', path: '/x' };
  const providers = (...all: object[]) => ({ 'text.providers': JSON.stringify(all) });

  it('give the providers of texts in their order, with their secrets', async () => {
    expect(textProvidersOf(keys().seed, await settingsNow())).toEqual([]);
    const { event } = await set(providers(twilio, gateway));
    expect(event.details).toEqual({ 'text.providers': 'set' });
    const [first, second] = textProvidersOf(keys().seed, await settingsNow());
    expect(first).toMatchObject(twilio);
    expect(second).toMatchObject(gateway);
    const { summary } = (await settingsNow()).text.providers!;
    expect(summary).toBe('first (twilio), second (generic-http at sms.example)');
  });

  it.each([
    ['without a sender', { ...twilio, from: undefined }, 'either `from`'],
    ['with a field there is not', { ...twilio, sceret: 'HUSH' }, 'sceret'],
    ['with a template in its host', { ...gateway, url: 'https://<$to$>.example' }, '0.url'],
    ['of no kind', { ...twilio, kind: 'pigeon' }, '0.kind'],
  ])('refuse a provider %s, and say so without its secret', async (_, provider, why) => {
    const planned = await plan('settings.set', { changes: providers(provider) });
    expect(planned).toMatchObject({ kind: 'refused', code: 'invalid_setting' });
    expect(JSON.stringify(planned)).toContain(why);
    expect(JSON.stringify(planned)).not.toContain('HUSH');
  });

  it('refuse two providers of one name', async () => {
    const twins = providers(twilio, { ...gateway, name: 'first' });
    expect(await refusalOf('settings.set', { changes: twins })).toBe('400 invalid_setting');
  });

  it('give a mail server once everything it needs is set', async () => {
    const server = async () => mailServerOf(keys().seed, await settingsNow());
    expect(await server()).toBeNull();
    await set({ 'mail.host': 'mail.example.org', 'mail.from': 'mfa@example.org' });
    expect(await server()).toMatchObject({
      host: 'mail.example.org',
      port: 587,
      security: 'starttls',
      from: 'mfa@example.org',
      fromName: 'Countersign',
    });
    await set({ 'mail.user': 'mfa' });
    expect(await server()).toBeNull();
    await set({ 'mail.password': 'HUSH' });
    expect(await server()).toMatchObject({ user: 'mfa', password: 'HUSH' });
  });

  it('let texts go to the default country alone, or to those that are named', async () => {
    expect(phonePolicyOf(await settingsNow())).toEqual({
      defaultCountry: 'NL',
      allowedCountries: ['NL'],
    });
    await set({ 'text.countries': ['BE', 'DE'] });
    expect(phonePolicyOf(await settingsNow()).allowedCountries).toEqual(['BE', 'DE']);
  });
});

describe('applications', () => {
  const add = (name: string, more = {}) => run('application.add', { name, ...more });

  it('need the right to change settings', () => {
    for (const name of ['application.add', 'application.set', 'application.remove']) {
      expect(scopeOf(name)).toBe('settings:write');
    }
  });

  it('are added with settings of their own, under an id that follows from the command', async () => {
    const commandId = randomUUID();
    const args = { name: 'VPN', settings: { 'methods.default': 'text', 'caching.mode': null } };
    const [first, again] = await Promise.all([
      plan('application.add', args, commandId),
      plan('application.add', args, commandId),
    ]);
    expect(first).toEqual(again);
    const { result, document } = await add('VPN', { settings: args.settings });
    expect(document.content).toEqual({
      id: result.id,
      name: 'VPN',
      enabled: true,
      userMatch: 'require',
      settings: { 'methods.default': 'text' },
      createdAt: now.toISOString(),
      updatedAt: now.toISOString(),
    });
  });

  it('have names of their own, whatever the case', async () => {
    await add('VPN');
    await add('mail');
    expect(await refusalOf('application.add', { name: 'vpn' })).toBe('409 application_name_taken');
    const taken = { name: 'mail', changes: { name: 'Vpn' } };
    expect(await refusalOf('application.set', taken)).toBe('409 application_name_taken');
    await run('application.set', { name: 'vpn', changes: { name: 'vpn' } });
    expect((await readSettings(db())).applications.get('vpn')?.name).toBe('vpn');
    await run('application.remove', { name: 'VPN' });
    await run('application.set', taken);
    expect([...(await readSettings(db())).applications.keys()]).toEqual(['vpn']);
  });

  it('are changed in what is named, and a setting goes back to the company’s', async () => {
    await add('vpn', { settings: { 'methods.default': 'text', 'methods.codeDigits': 8 } });
    const changes = { userMatch: 'pass', settings: { 'methods.default': null } };
    const { event } = await run('application.set', { name: 'VPN', changes });
    expect(event.details).toEqual({
      application: 'vpn',
      userMatch: 'pass',
      settings: { 'methods.default': 'default' },
    });
    expect((await readSettings(db())).applications.get('vpn')).toMatchObject({
      userMatch: 'pass',
      enabled: true,
      settings: { 'methods.codeDigits': 8 },
    });
    expect(await refusalOf('application.set', { name: 'vpn', changes })).toBe('unchanged');
  });

  it.each([
    ['add', { name: 'x', settings: { 'lockout.failures': 1 } }, '400 invalid_setting'],
    ['add', { name: 'x', settings: { 'mail.password': 'x' } }, '400 invalid_setting'],
    ['add', { name: 'x', settings: { 'methods.codeDigits': 99 } }, '400 invalid_setting'],
    ['add', { name: '__proto__' }, '400 invalid_request'],
    ['add', { name: ' x' }, '400 invalid_request'],
    ['add', { name: 'x', userMatch: 'maybe' }, '400 invalid_request'],
    ['add', { name: 'x', id: randomUUID() }, '400 invalid_request'],
    ['set', { name: 'nobody', changes: {} }, '404 unknown_application'],
    ['remove', { name: 'nobody' }, '404 unknown_application'],
  ])('refuse a wrong %s: %j', async (verb, args, refusal) => {
    expect(await refusalOf(`application.${verb}`, args)).toBe(refusal);
  });
});
