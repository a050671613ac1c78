import { z } from 'zod';
import type { ApplicationDocument } from './application.ts';
import type { UserDocument } from './documents.ts';
import type { SealedValue, Setting, SettingValue } from './setting.ts';
import { SETTINGS } from './settings-schema.ts';
import { usernameKey } from './username-key.ts';

type Schema = typeof SETTINGS;
export type GroupName = keyof Schema;
type ValueOf<S> = S extends Setting<infer T> ? T : never;

/** The settings in force, by group. */
export type Settings = { [G in GroupName]: { [F in keyof Schema[G]]: ValueOf<Schema[G][F]> } };
export type LockoutSettings = Settings['lockout'];
export type WithoutQuorumPolicy = Settings['withoutQuorum']['default'];

/** One document per group; its id is the group's name. Fields left out have their defaults. */
export type SettingsDocument = {
  [G in GroupName]: { id: G } & Partial<Settings[G]>;
}[GroupName];

type Fields = Record<string, unknown>;
type Groups = Record<string, Fields>;

const groups: [GroupName, Record<string, Setting>][] = Object.entries(SETTINGS) as never;

export const settingsDocument = z.discriminatedUnion(
  'id',
  groups.map(([id, settings]) => {
    const fields = Object.entries(settings).map(([name, each]) => [name, each.schema.optional()]);
    return z.strictObject({ id: z.literal(id), ...Object.fromEntries(fields) });
  }) as never,
) as unknown as z.ZodType<SettingsDocument>;

export const defaultSettings: Settings = Object.fromEntries(
  groups.map(([id, settings]) => [id, mapValues(settings, ({ standard }) => standard)]),
) as never;

/** The settings in force, given the groups that were ever set. */
export function settingsFrom(documents: readonly SettingsDocument[]): Settings {
  const set = documents.map(({ id, ...fields }) => [id, { ...defaultSettings[id], ...fields }]);
  return { ...defaultSettings, ...Object.fromEntries(set) };
}

/**
 * The settings in force for a user at an application: what the user has goes before what the
 * application has, and that before what the company has.
 */
export function settingsFor(
  company: Settings,
  application: ApplicationDocument | null,
  user: Pick<UserDocument, 'method' | 'modes' | 'language'> | null = null,
): Settings {
  const own = Object.entries({ ...application?.settings, ...settingsOfUser(user) });
  if (own.length === 0) return company;
  const settings = { ...company } as Groups;
  for (const [name, value] of own) {
    const [group = '', field = ''] = name.split('.');
    settings[group] = { ...settings[group], [field]: value };
    // The application's own word goes before the one kept for its name.
    if (name === 'withoutQuorum.default') settings[group].applications = {};
  }
  return settings as Settings;
}

function settingsOfUser(user: Pick<UserDocument, 'method' | 'modes' | 'language'> | null) {
  const { method, modes, language } = user ?? {};
  const own = {
    'methods.default': method,
    'methods.oathMode': modes?.oath,
    'methods.textMode': modes?.text,
    'methods.callMode': modes?.call,
    'methods.appMode': modes?.app,
    'company.language': language,
  };
  return Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
}

/** The document of the application that a caller names, whatever the case of its letters; null where there is none. */
export function findApplication(
  applications: ReadonlyMap<string, ApplicationDocument>,
  name: string | null,
): ApplicationDocument | null {
  return name === null ? null : (applications.get(usernameKey(name)) ?? null);
}

/** What becomes of an application's verifications while the quorum is away. */
export function withoutQuorumPolicy(
  settings: Settings,
  application: string | null,
): WithoutQuorumPolicy {
  const { applications, default: otherwise } = settings.withoutQuorum;
  if (application === null || !Object.hasOwn(applications, application)) return otherwise;
  return applications[application] ?? otherwise;
}

export const PER_APPLICATION = 'withoutQuorum.applications.';

/** Every setting by name. NAME stands for an application's name. */
export const settingNames: readonly string[] = groups.flatMap(([group, settings]) =>
  Object.keys(settings).map((field) => {
    const name = `${group}.${field}`;
    return `${name}.` === PER_APPLICATION ? `${PER_APPLICATION}NAME` : name;
  }),
);

/** @throws SettingError with the list of those that there are */
export function findSetting(name: string): Setting {
  if (name.startsWith(PER_APPLICATION)) return SETTINGS.withoutQuorum.applications;
  const [group = '', field = '', ...more] = name.split('.');
  const setting = groups.find(([id]) => id === group)?.[1];
  if (more.length === 0 && setting && Object.hasOwn(setting, field)) {
    const found = setting[field]!;
    if (found.kind !== 'by application') return found;
  }
  throw new SettingError(`there is no setting ${name}; there are ${settingNames.join(', ')}`);
}

export class SettingError extends Error {
  override readonly name = 'SettingError';
}

/** Whether applications may have a value of their own. */
export function isOverridable(name: string): boolean {
  return overridableNames.includes(name);
}

/** Those that an application may have a value of its own for. */
export const overridableNames: readonly string[] = settingNames.filter(
  (name) => !name.endsWith('.NAME') && findSetting(name).overriddenBy.includes('application'),
);

/** Every setting in force by name, for a list. Of a secret it says whether it is set, and its summary. */
export function listSettings(settings: Settings): { name: string; value: SettingValue }[] {
  const plain = groups.flatMap(([id, all]) =>
    Object.entries(all)
      .filter(([, { kind }]) => kind !== 'by application')
      .map(([field, setting]) => {
        const value = (settings as Groups)[id]?.[field];
        return { name: `${id}.${field}`, value: setting.secret ? told(value) : value };
      }),
  ) as { name: string; value: SettingValue }[];
  const named = Object.entries(settings.withoutQuorum.applications);
  return [...plain, ...named.map(([name, value]) => ({ name: PER_APPLICATION + name, value }))];
}

function told(value: unknown): string {
  const { summary } = (value ?? {}) as Partial<SealedValue>;
  if (value === null) return 'not set';
  return summary === undefined ? 'set' : `set: ${summary}`;
}

function mapValues<T, U>(from: Record<string, T>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(from).map(([name, value]) => [name, change(value)]));
}
