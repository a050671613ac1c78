import { describe, expect, it } from 'vitest';
import {
  SettingError,
  changeSetting,
  defaultSettings,
  listSettings,
  parseSetting,
  settingsFrom,
  withoutQuorumPolicy,
} from './settings.ts';

describe('settings', () => {
  it('have defaults, which the groups that were set replace', () => {
    expect(defaultSettings).toEqual({
      lockout: { failures: 5, resetMinutes: 10, releaseMinutes: 10 },
      failover: { mode: 'automatic', afterSeconds: 6 },
      withoutQuorum: { default: 'serve', applications: {} },
      events: { retentionDays: 365 },
    });
    const lockout = { failures: 3, resetMinutes: 1, releaseMinutes: 2 };
    expect(settingsFrom([])).toEqual(defaultSettings);
    expect(settingsFrom([{ id: 'lockout', ...lockout }])).toEqual({ ...defaultSettings, lockout });
  });

  it.each([
    ['lockout.failures', 1, 100],
    ['lockout.resetMinutes', 1, 1440],
    ['lockout.releaseMinutes', 1, 1440],
    ['failover.afterSeconds', 5, 600],
    ['events.retentionDays', 1, 3650],
  ])('%s is from %i to %i, and the error says so', (name, min, max) => {
    for (const value of [min, max]) {
      expect(parseSetting(name, String(value))).toEqual({ name, value });
    }
    const texts = [min - 1, max + 1, `${min}.5`, 'many', '', '-1', '1e1', ' 7', '9'.repeat(40)];
    for (const text of texts) {
      expect(() => parseSetting(name, String(text))).toThrow(SettingError);
      expect(() => parseSetting(name, String(text))).toThrow(
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

  it('that do not exist are refused with the list of those that do', () => {
    for (const name of ['', 'lockout', 'lockout.id', 'lockout.tries', '__proto__.x', 'id.id']) {
      expect(() => parseSetting(name, '5')).toThrow('lockout.failures, lockout.resetMinutes');
    }
  });

  it('change one at a time, as a whole group', () => {
    const document = changeSetting(defaultSettings, { name: 'lockout.failures', value: 9 });
    expect(document).toEqual({ id: 'lockout', failures: 9, resetMinutes: 10, releaseMinutes: 10 });
    expect(settingsFrom([document]).lockout.failures).toBe(9);
  });

  it('for one application are set, listed, used and taken back', () => {
    const name = 'withoutQuorum.applications.vpn.example';
    const refused = settingsFrom([changeSetting(defaultSettings, parseSetting(name, 'refuse'))]);
    expect(withoutQuorumPolicy(refused, 'vpn.example')).toBe('refuse');
    expect(withoutQuorumPolicy(refused, 'other')).toBe('serve');
    expect(withoutQuorumPolicy(refused, null)).toBe('serve');
    expect(withoutQuorumPolicy(refused, 'constructor')).toBe('serve');
    expect(listSettings(refused)).toContainEqual({ name, value: 'refuse' });
    const again = settingsFrom([changeSetting(refused, parseSetting(name, 'default'))]);
    expect(again).toEqual(defaultSettings);
  });

  it('refuse what is no application', () => {
    for (const application of ['', '__proto__', 'a\nb', 'a'.repeat(129)]) {
      const name = `withoutQuorum.applications.${application}`;
      expect(() => parseSetting(name, 'serve')).toThrow(SettingError);
    }
  });

  it('are all listed', () => {
    expect(listSettings(defaultSettings)).toEqual([
      { name: 'lockout.failures', value: 5 },
      { name: 'lockout.resetMinutes', value: 10 },
      { name: 'lockout.releaseMinutes', value: 10 },
      { name: 'failover.mode', value: 'automatic' },
      { name: 'failover.afterSeconds', value: 6 },
      { name: 'withoutQuorum.default', value: 'serve' },
      { name: 'events.retentionDays', value: 365 },
    ]);
  });
});
