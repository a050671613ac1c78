import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import type { SealedValue, Setting, SettingValue } from './setting.ts';
import { applicationName, checkGroup, SETTINGS } from './settings-schema.ts';
import {
  defaultSettings,
  findSetting,
  isOverridable,
  PER_APPLICATION,
  SettingError,
  settingsDocument,
} from './settings.ts';
import type { GroupName, Settings, SettingsDocument } from './settings.ts';

type Fields = Record<string, unknown>;

/** null takes a setting back to its default; a secret comes as it is. */
export type SettingChange = { name: string; value: SettingValue | null };

/** Somebody who changes where a secret is sent has to know it (security rule 25). */
export class SecretRequiredError extends SettingError {}

/**
 * Checks a setting as typed at a prompt, or as its own type.
 * @throws SettingError naming the setting and what it may be, never the value of a secret
 */
export function parseSetting(name: string, given: unknown): SettingChange {
  const setting = findSetting(name);
  if (name.startsWith(PER_APPLICATION)) return parsePerApplication(name, setting, given);
  if (given === null) return { name, value: null };
  if (setting.secret) return { name, value: parseSecret(name, setting, given) };
  const read = typeof given === 'string' ? setting.read(given) : given;
  const parsed = setting.schema.safeParse(read);
  if (!parsed.success) throw refuse(name, parsed.error);
  return { name, value: parsed.data as SettingValue };
}

function parsePerApplication(name: string, setting: Setting, given: unknown): SettingChange {
  const application = name.slice(PER_APPLICATION.length);
  if (!applicationName.safeParse(application).success) {
    throw new SettingError(`${PER_APPLICATION}NAME: NAME is an application of 1-128 characters`);
  }
  if (given === null || given === 'default') return { name, value: null };
  const parsed = setting.schema.safeParse({ [application]: given });
  if (!parsed.success) throw refuse(name, parsed.error);
  return { name, value: given as string };
}

function parseSecret(name: string, { secret, allowed }: Setting, given: unknown): string {
  if (typeof given !== 'string') throw new SettingError(`${name}: must be ${allowed}`);
  const problem = secret!.check(given);
  if (problem !== null) throw new SettingError(`${name}: ${problem}`);
  return given;
}

function refuse(name: string, error: z.ZodError): SettingError {
  const messages = new Set(error.issues.map((issue) => issue.message));
  return new SettingError(`${name}: ${[...messages].join(', ')}`);
}

/** As {@link parseSetting}, for an application's own value. */
export function parseOverride(name: string, given: unknown): SettingChange {
  if (!isOverridable(name)) {
    findSetting(name);
    throw new SettingError(`${name}: applications have no value of their own for it`);
  }
  return parseSetting(name, given);
}

/** Seals a secret to a context; `kept` is what is sealed now, to go on with where it is the same. */
export type SealSetting = (secret: string, context: string, kept: SealedValue | null) => string;

/**
 * The group's document as it is after changes that {@link parseSetting} has checked, all of that group. It holds what
 * is not the default.
 * @throws SettingError naming the setting and what it may be
 * @throws SecretRequiredError if a secret would go somewhere else without being given again
 */
export function changeSettings(
  settings: Settings,
  changes: readonly SettingChange[],
  seal: SealSetting,
): SettingsDocument {
  const id = (changes[0]?.name.split('.', 1)[0] ?? '') as GroupName;
  const before: Fields = settings[id];
  const after: Fields = { ...before };
  for (const { name, value } of changes) {
    const setting = findSetting(name);
    const field = name.slice(id.length + 1);
    if (!name.startsWith(`${id}.`)) throw new SettingError('settings of one group at a time');
    if (setting.kind === 'by application') after.applications = changedMap(after, name, value);
    else if (!setting.secret || value === null) after[field] = value ?? setting.standard;
  }
  for (const [field, { secret }] of Object.entries<Setting>(SETTINGS[id])) {
    if (!secret) continue;
    const name = `${id}.${field}`;
    const given = changes.findLast((change) => change.name === name)?.value;
    if (typeof given === 'string') {
      const context = contextOf(name, secret.sentTo, after);
      const sealed = seal(given, context, before[field] as SealedValue | null);
      const summary = secret.summarise(given);
      after[field] = { sealed, ...(summary !== undefined && { summary }) };
    } else if (after[field] !== null) {
      refuseMove(name, secret.sentTo, before, after);
    }
  }
  return toDocument(id, after);
}

function refuseMove(name: string, sentTo: readonly string[], before: Fields, after: Fields): void {
  const moved = sentTo.find((field) => after[field] !== before[field]);
  if (moved === undefined) return;
  const group = name.split('.', 1)[0];
  throw new SecretRequiredError(`${group}.${moved}: changing it needs ${name} again`);
}

/** As {@link changeSettings}, one that is no secret. */
export function changeSetting(settings: Settings, change: SettingChange): SettingsDocument {
  return changeSettings(settings, [parseSetting(change.name, change.value)], () => {
    throw new SettingError(`${change.name} is a secret`);
  });
}

function changedMap(fields: Fields, name: string, value: unknown): Fields {
  const application = name.slice(PER_APPLICATION.length);
  const others = Object.entries(fields.applications as Fields).filter(
    ([other]) => other !== application,
  );
  return Object.fromEntries(value === null ? others : [...others, [application, value]]);
}

function toDocument(id: GroupName, fields: Fields): SettingsDocument {
  const problem = checkGroup(id, fields);
  if (problem !== null) throw new SettingError(problem);
  const standard: Fields = defaultSettings[id];
  const set = Object.entries(fields).filter(
    ([field, value]) => !isDeepStrictEqual(value, standard[field]),
  );
  const parsed = settingsDocument.safeParse({ id, ...Object.fromEntries(set) });
  if (!parsed.success) throw refuse(id, parsed.error);
  return parsed.data;
}

/** Names of the settings that are secrets. */
export const SECRET_SETTINGS = ['mail.password', 'text.providers'] as const;
export type SecretSetting = (typeof SECRET_SETTINGS)[number];

/** A secret as it is stored, and the context it was sealed to: moved to other settings it does not open. */
export function sealedSetting(
  settings: Settings,
  name: SecretSetting,
): { sealed: string; context: string } | null {
  const [group = '', field = ''] = name.split('.');
  const fields = (settings as Record<string, Fields>)[group]!;
  const value = fields[field] as SealedValue | null;
  if (value === null) return null;
  const { sentTo } = findSetting(name).secret!;
  return { sealed: value.sealed, context: contextOf(name, sentTo, fields) };
}

// A default of one of these, and which they are, can never change: what was sealed for them would not open.
function contextOf(name: string, sentTo: readonly string[], fields: Fields): string {
  return JSON.stringify(['setting', name, ...sentTo.map((field) => fields[field])]);
}
