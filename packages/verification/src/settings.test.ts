import { describe, expect, it } from 'vitest';
import type { ApplicationDocument } from './application.ts';
import {
  SecretRequiredError,
  changeSetting,
  changeSettings,
  parseOverride,
  parseSetting,
  sealedSetting,
} from './change-settings.ts';
import type { SettingChange } from './change-settings.ts';
import { checkDocument } from './documents.ts';
import {
  SettingError,
  defaultSettings,
  findApplication,
  findSetting,
  listSettings,
  overridableNames,
  settingNames,
  settingsFor,
  settingsFrom,
  withoutQuorumPolicy,
} from './settings.ts';
import type { Settings } from './settings.ts';

/** What changes come to, one request after the other. A secret is sealed as its context and itself. */
function after(settings: Settings, ...requests: Record<string, unknown>[]): Settings {
  return requests.reduce<Settings>((before, request) => {
    const changes = Object.entries(request).map(([name, value]) => parseSetting(name, value));
    const seal = (secret: string, context: string) =>
      Buffer.from(`${context} ${secret}`).toString('base64');
    const { id, ...fields } = changeSettings(before, changes, seal);
    return { ...before, [id]: { ...defaultSettings[id], ...fields } };
  }, settings);
}

const numbers = settingNames
  .map((name) => [name, findSetting(name)] as const)
  .filter(([, { kind }]) => kind === 'whole number')
  .map(([name, { allowed }]) => {
    const [, min, max] = /^a whole number from (\d+) to (\d+)$/.exec(allowed)!;
    return [name, Number(min), Number(max)] as const;
  });

describe('settings', () => {
  it('have defaults, which the groups that were set replace', () => {
    expect(defaultSettings).toMatchObject({
      lockout: {
        failures: 5,
        resetMinutes: 10,
        releaseMinutes: 10,
        passwordFailures: 4,
        passwordMinutes: 30,
      },
      failover: { mode: 'automatic', afterSeconds: 6 },
      withoutQuorum: { default: 'serve', applications: {} },
      methods: { default: 'oath', appMode: 'number', codeDigits: 6 },
      trustedIps: { ranges: [] },
      caching: { mode: 'off' },
      bypass: { seconds: 300 },
      blocks: { days: 90 },
      mail: { toUsers: true, pinMails: false, password: null },
    });
    const lockout = { failures: 3, resetMinutes: 1, releaseMinutes: 2 };
    expect(settingsFrom([])).toEqual(defaultSettings);
    const { lockout: rest } = defaultSettings;
    expect(settingsFrom([{ id: 'lockout', ...lockout }])).toEqual({
      ...defaultSettings,
      lockout: { ...rest, ...lockout },
    });
  });

  it('have defaults that they may be set to', () => {
    for (const { name, value } of listSettings(defaultSettings)) {
      if (findSetting(name).secret) continue;
      expect(parseSetting(name, value)).toEqual({ name, value });
      const typed = Array.isArray(value) ? value.join(', ') : String(value);
      expect(parseSetting(name, typed)).toEqual({ name, value });
    }
  });

  it.each(numbers)('%s is from %i to %i, and the error says so', (name, min, max) => {
    for (const value of [min, max]) {
      expect(parseSetting(name, String(value))).toEqual({ name, value });
      expect(parseSetting(name, value)).toEqual({ name, value });
    }
    const texts = [min - 1, max + 1, `${min}.5`, 'many', '', '-1', '1e1', ' 7', '9'.repeat(40)];
    for (const wrong of [...texts.map(String), min + 0.5, Number.NaN, true, [min]]) {
      expect(() => parseSetting(name, wrong)).toThrow(SettingError);
      expect(() => parseSetting(name, wrong)).toThrow(
        `${name}: must be a whole number from ${min} to ${max}`,
      );
    }
  });

  it('that are a choice name the choices', () => {
    expect(parseSetting('failover.mode', 'manual').value).toBe('manual');
    expect(() => parseSetting('failover.mode', 'off')).toThrow(
      'failover.mode: must be automatic or manual',
    );
    expect(() => parseSetting('withoutQuorum.default', '1')).toThrow('must be serve or refuse');
  });

  it('that are true or false take nothing else', () => {
    expect(parseSetting('pin.refuseWeak', 'false').value).toBe(false);
    for (const wrong of ['no', '0', '', 0, []]) {
      expect(() => parseSetting('pin.refuseWeak', wrong)).toThrow('must be true or false');
    }
  });

  it('that are a list are read at their commas, and each part is checked', () => {
    expect(parseSetting('trustedIps.ranges', ' 192.0.2.1, 10.0.0.0/8 ,').value).toEqual([
      '192.0.2.1',
      '10.0.0.0/8',
    ]);
    expect(parseSetting('trustedIps.ranges', '').value).toEqual([]);
    expect(() => parseSetting('trustedIps.ranges', '10.0.0.0/8, localhost')).toThrow(
      'trustedIps.ranges: must be addresses, ranges first-last, or subnets like 192.0.2.0/24',
    );
    const many = Array.from({ length: 201 }, (_, index) => `10.0.0.${index % 256}`);
    expect(() => parseSetting('trustedIps.ranges', many)).toThrow('must be at most 200');
    expect(() => parseSetting('text.countries', ['NL', 7])).toThrow(SettingError);
  });

  it.each([
    ['company.portalUrl', 'http://portal.example'],
    ['company.portalUrl', 'https://someone:secret@portal.example'],
    ['company.portalUrl', 'https://portal.example/?next=x'],
    ['company.portalUrl', 'javascript:alert(1)'],
    ['company.language', 'English'],
    ['company.name', '  '],
    ['company.name', 'a\u202eb'],
    ['mail.from', 'somebody'],
    ['mail.administrators', 'a@example.org, b@c <d@e>'],
    ['mail.host', 'mail.example.org/x'],
    ['mail.trustedCertificates', 'not a certificate'],
    ['text.defaultCountry', 'nl'],
  ])('%s is not %s', (name, value) => {
    expect(() => parseSetting(name, value)).toThrow(`${name}: must be `);
  });

  it('take several lines only for certificates', () => {
    const pem = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
    expect(parseSetting('mail.trustedCertificates', pem).value).toBe(pem);
    expect(() => parseSetting('company.name', 'a\nb')).toThrow(SettingError);
  });

  it('that do not exist are refused with the list of those that do', () => {
    const names = ['', 'lockout', 'lockout.id', 'lockout.tries', '__proto__.x', 'id.id'];
    for (const name of [...names, 'lockout.failures.x', 'constructor.name', 'mail.__proto__']) {
      expect(() => parseSetting(name, '5')).toThrow('lockout.failures, lockout.resetMinutes');
      expect(() => parseSetting(name, null)).toThrow('there is no setting');
    }
  });

  it('are stored by groups, without what is the default', () => {
    const document = changeSetting(defaultSettings, { name: 'lockout.failures', value: 9 });
    expect(document).toEqual({ id: 'lockout', failures: 9 });
    expect(settingsFrom([document]).lockout).toEqual({ ...defaultSettings.lockout, failures: 9 });
    const again = changeSetting(settingsFrom([document]), { name: 'lockout.failures', value: 5 });
    expect(again).toEqual({ id: 'lockout' });
  });

  it('go back to their defaults', () => {
    const changed = after(defaultSettings, { 'lockout.failures': 9, 'lockout.resetMinutes': 3 });
    expect(after(changed, { 'lockout.failures': null }).lockout).toEqual({
      ...defaultSettings.lockout,
      resetMinutes: 3,
    });
  });

  it('for one application are set, listed, used and taken back', () => {
    const name = 'withoutQuorum.applications.vpn.example';
    const refused = after(defaultSettings, { [name]: 'refuse' });
    expect(withoutQuorumPolicy(refused, 'vpn.example')).toBe('refuse');
    expect(withoutQuorumPolicy(refused, 'other')).toBe('serve');
    expect(withoutQuorumPolicy(refused, null)).toBe('serve');
    expect(withoutQuorumPolicy(refused, 'constructor')).toBe('serve');
    expect(listSettings(refused)).toContainEqual({ name, value: 'refuse' });
    expect(() => parseSetting(name, 'perhaps')).toThrow(`${name}: must be serve or refuse`);
    expect(after(refused, { [name]: 'default' })).toEqual(defaultSettings);
    expect(after(refused, { [name]: null })).toEqual(defaultSettings);
  });

  it('refuse what is no application', () => {
    for (const application of ['', '__proto__', 'a\nb', ' a', 'a'.repeat(129)]) {
      const name = `withoutQuorum.applications.${application}`;
      expect(() => parseSetting(name, 'serve')).toThrow(SettingError);
    }
  });

  it('are all listed, each under its own name', () => {
    const listed = listSettings(defaultSettings).map(({ name }) => name);
    expect(listed.slice(0, 4)).toEqual([
      'company.name',
      'company.language',
      'company.portalUrl',
      'lockout.failures',
    ]);
    expect([...listed, 'withoutQuorum.applications.NAME'].toSorted()).toEqual(
      settingNames.toSorted(),
    );
    expect(new Set(listed).size).toBe(listed.length);
  });

  it('are described in a line each', () => {
    for (const name of settingNames) {
      expect(findSetting(name).about, name).toMatch(/^[A-Z`][^\n]{10,220}\.$/);
      expect(findSetting(name).allowed, name).not.toMatch(/^$|\n/);
    }
  });
});

describe('settings that are secrets', () => {
  const withMail = after(defaultSettings, {
    'mail.host': 'mail.example.org',
    'mail.user': 'countersign',
    'mail.password': 'hush',
  });
  const providers = JSON.stringify([
    { kind: 'twilio', name: 'first', url: 'https://api.example.net/x?key=HUSH', secret: 'HUSH' },
    { kind: 'generic-http', name: 'second', secrets: { token: 'HUSH' } },
  ]);

  it('are told as set or not, never as what they are', () => {
    const value = (settings: Settings, name: string) =>
      listSettings(settings).find((each) => each.name === name)?.value;
    expect(value(defaultSettings, 'mail.password')).toBe('not set');
    expect(value(withMail, 'mail.password')).toBe('set');
    const sending = after(defaultSettings, { 'text.providers': providers });
    expect(value(sending, 'text.providers')).toBe(
      'set: first (twilio at api.example.net), second (generic-http)',
    );
    expect(JSON.stringify(listSettings(sending))).not.toContain('HUSH');
    const long = Array.from({ length: 10 }, (_, index) => ({
      kind: 'twilio',
      name: `provider-${index}`,
      url: `https://${'a'.repeat(60)}.${'b'.repeat(60)}.example`,
    }));
    const told = value(
      after(sending, { 'text.providers': JSON.stringify(long) }),
      'text.providers',
    );
    expect(told).toMatch(/^set: provider-0 .{480,500}…$/);
  });

  it('are not repeated by the error that refuses them', () => {
    const wrong: [string, unknown][] = [
      ['mail.password', `HUSH${'x'.repeat(512)}`],
      ['mail.password', 'HUSH\u0000'],
      ['mail.password', ['HUSH']],
      ['mail.password', { sealed: 'HUSH' }],
      ['text.providers', '[{"secret":"HUSH"}]'],
      ['text.providers', '{"HUSH'],
      ['text.providers', JSON.stringify(['HUSH'.repeat(9000)])],
    ];
    for (const [name, value] of wrong) {
      expect(() => parseSetting(name, value)).toThrow(SettingError);
      expect(() => parseSetting(name, value)).not.toThrow('HUSH');
    }
    expect(() => parseSetting('mail.password', '')).toThrow('mail.password: must be a password');
  });

  it.each([
    ['mail.host', 'evil.example'],
    ['mail.port', 2525],
    ['mail.security', 'tls'],
    ['mail.trustedCertificates', '-----BEGIN CERTIFICATE-----'],
  ])('are asked for again by whoever changes %s to %s (rule 25)', (name, value) => {
    const moving = { [name]: value };
    const given = { ...moving, 'mail.password': 'hush' };
    expect(() => after(withMail, moving)).toThrow(`${name}: changing it needs mail.password again`);
    expect(() => after(withMail, moving)).toThrow(SecretRequiredError);
    expect(() => after(withMail, { ...moving, 'mail.user': 'x' })).toThrow(SecretRequiredError);
    expect(after(withMail, given).mail.password).not.toBeNull();
    // Taken away it goes nowhere.
    expect(after(withMail, { ...moving, 'mail.password': null }).mail.password).toBeNull();
    expect(after(defaultSettings, moving).mail.password).toBeNull();
  });

  it('are asked for again by whoever takes their place back to its default', () => {
    expect(() => after(withMail, { 'mail.host': null })).toThrow(SecretRequiredError);
  });

  it('stay as they are where something else changes', () => {
    const { password } = withMail.mail;
    expect(after(withMail, { 'mail.fromName': 'x' }).mail.password).toEqual(password);
    expect(after(withMail, { 'mail.host': 'mail.example.org' }).mail.password).toEqual(password);
  });

  it('are sealed for the place that they are sent to, the new one where it changes too', () => {
    const opened = (settings: Settings) => {
      const { sealed, context } = sealedSetting(settings, 'mail.password')!;
      const text = Buffer.from(sealed, 'base64').toString();
      return text.startsWith(context) ? text.slice(context.length + 1) : null;
    };
    expect(opened(withMail)).toBe('hush');
    const moved = after(withMail, { 'mail.password': 'other', 'mail.host': 'new.example.org' });
    expect(opened(moved)).toBe('other');
    const tampered = { ...withMail, mail: { ...withMail.mail, host: 'evil.example' } };
    expect(opened(tampered)).toBeNull();
    expect(sealedSetting(defaultSettings, 'mail.password')).toBeNull();
  });

  it('never go out in plain text', () => {
    const plain = { 'mail.security': 'plain', 'mail.password': 'hush' };
    expect(() => after(defaultSettings, plain)).toThrow('a password needs starttls or tls');
    expect(after(defaultSettings, { 'mail.security': 'plain' }).mail.security).toBe('plain');
  });

  it('change no other group', () => {
    const changes: SettingChange[] = [
      { name: 'mail.host', value: 'x' },
      { name: 'lockout.failures', value: 1 },
    ];
    expect(() => changeSettings(defaultSettings, changes, () => '')).toThrow(SettingError);
  });
});

describe('settings for a user at an application', () => {
  const at = '2026-05-01T12:00:00.000Z';
  const application: ApplicationDocument = {
    id: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',
    name: 'VPN',
    enabled: true,
    userMatch: 'require',
    settings: {
      'methods.default': 'text',
      'methods.codeDigits': 8,
      'withoutQuorum.default': 'refuse',
      'trustedIps.ranges': ['192.0.2.0/24'],
    },
    createdAt: at,
    updatedAt: at,
  };

  it("are the user's before the application's before the company's", () => {
    const company = after(defaultSettings, {
      'methods.default': 'call',
      'methods.callMode': 'pin',
    });
    expect(settingsFor(company, null)).toEqual(company);
    expect(settingsFor(company, application).methods).toEqual({
      ...company.methods,
      default: 'text',
      codeDigits: 8,
    });
    const user = { method: 'app', modes: { app: 'approve' }, language: 'nl' } as const;
    const both = settingsFor(company, application, user);
    expect(both.methods).toMatchObject({ default: 'app', appMode: 'approve', callMode: 'pin' });
    expect(both).toMatchObject({
      company: { language: 'nl', name: 'Countersign' },
      trustedIps: { ranges: ['192.0.2.0/24'] },
      lockout: company.lockout,
    });
    expect(company.methods.default).toBe('call');
  });

  it('let its own word about the quorum go before the one kept for its name', () => {
    const company = after(defaultSettings, { 'withoutQuorum.applications.VPN': 'serve' });
    expect(withoutQuorumPolicy(settingsFor(company, application), 'VPN')).toBe('refuse');
    const silent = { ...application, settings: {} };
    const other = after(defaultSettings, { 'withoutQuorum.applications.VPN': 'refuse' });
    expect(withoutQuorumPolicy(settingsFor(other, silent), 'VPN')).toBe('refuse');
    expect(withoutQuorumPolicy(settingsFor(other, null), 'VPN')).toBe('refuse');
  });

  it('find the application whatever the case of its name', () => {
    const all = new Map([['vpn', application]]);
    expect(findApplication(all, 'Vpn')).toBe(application);
    expect(findApplication(all, 'other')).toBeNull();
    expect(findApplication(all, null)).toBeNull();
  });

  it('differ only in what an application may have of its own', () => {
    expect(overridableNames).toContain('methods.default');
    for (const name of ['lockout.failures', 'mail.password', 'mail.host', 'pin.minLength']) {
      expect(overridableNames).not.toContain(name);
      expect(() => parseOverride(name, 5)).toThrow(`${name}: applications have no value`);
    }
    expect(() => parseOverride('lockout.nothing', 5)).toThrow('there is no setting');
    expect(parseOverride('methods.codeDigits', '7').value).toBe(7);
  });

  it.each([
    ['a name that begins with a space', { name: ' vpn' }],
    ['a name with a control character', { name: 'v\u0007pn' }],
    ['a setting that is only the company’s', { settings: { 'lockout.failures': 3 } }],
    ['a secret', { settings: { 'mail.password': 'x' } }],
    ['a setting out of its bounds', { settings: { 'methods.codeDigits': 9 } }],
    ['a number in quotes', { settings: { 'methods.codeDigits': '8' } }],
    ['an unknown setting', { settings: { 'methods.nothing': 1 } }],
    ['an unknown field', { secret: 'x' }],
    ['another user match', { userMatch: 'maybe' }],
  ])('are refused as a document with %s', (_, wrong) => {
    expect(checkDocument('application', application)).toEqual(application);
    expect(() => checkDocument('application', { ...application, ...wrong })).toThrow(
      'application document is not valid',
    );
  });
});
