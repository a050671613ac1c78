import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { ApplicationDocument } from './application.ts';
import type { UserDocument } from './documents.ts';
import type { SealedValue, Setting, SettingValue } from './setting.ts';
import { applicationName, checkGroup, SETTINGS } from './settings-schema.ts';
import { usernameKey } from './username-key.ts';

type Schema = typeof SETTINGS;
type GroupName = keyof Schema;
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

const PER_APPLICATION = 'withoutQuorum.applications.';

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

/** null takes a setting back to its default; a secret comes as it is. */
export type SettingChange = { name: string; value: SettingValue | null };

export class SettingError extends Error {
  override readonly name = 'SettingError';
}

/** Somebody who changes where a secret is sent has to know it (security rule 25). */
export class SecretRequiredError extends SettingError {}

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

/** Whether applications may have a value of their own. */
export function isOverridable(name: string): boolean {
  return overridableNames.includes(name);
}

/** Those that an application may have a value of its own for. */
export const overridableNames: readonly string[] = settingNames.filter(
  (name) => !name.endsWith('.NAME') && findSetting(name).overriddenBy.includes('application'),
);

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
    const given = changes.findLast((change) => change.name === name);
    const kept = before[field] as SealedValue | null;
    if (typeof given?.value === 'string') {
      const context = contextOf(name, secret.sentTo, after);
      const sealed = seal(given.value, context, kept);
      const summary = secret.summarise(given.value);
      after[field] = { sealed, ...(summary !== undefined && { summary }) };
    } else if (after[field] !== null) {
      const moved = secret.sentTo.find((each) => after[each] !== before[each]);
      if (moved !== undefined) {
        throw new SecretRequiredError(`${id}.${moved}: changing it needs ${name} again`);
      }
    }
  }
  return toDocument(id, after);
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
export type SecretSetting = 'mail.password' | 'text.providers';

/** A secret as it is stored, and the context it was sealed to: moved to other settings it does not open. */
export function sealedSetting(
  settings: Settings,
  name: SecretSetting,
): { sealed: string; context: string } | null {
  const [group = '', field = ''] = name.split('.');
  const fields = (settings as Groups)[group]!;
  const value = fields[field] as SealedValue | null;
  if (value === null) return null;
  const { sentTo } = findSetting(name).secret!;
  return { sealed: value.sealed, context: contextOf(name, sentTo, fields) };
}

function contextOf(name: string, sentTo: readonly string[], fields: Fields): string {
  return JSON.stringify(['setting', name, ...sentTo.map((field) => fields[field])]);
}

function mapValues<T, U>(from: Record<string, T>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(from).map(([name, value]) => [name, change(value)]));
}
