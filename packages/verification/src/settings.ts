import { z } from 'zod';
import { isSafeText } from './safe-text.ts';

const lockoutFields = {
  /** Wrong codes that lock a user out. */
  failures: wholeNumber(1, 100).default(5),
  /** Failures this old no longer count. */
  resetMinutes: wholeNumber(1, 1440).default(10),
  /** How long the first lockout lasts; each further one in a row lasts twice as long. */
  releaseMinutes: wholeNumber(1, 1440).default(10),
};

const failoverFields = {
  mode: oneOf(['automatic', 'manual']).default('automatic'),
  /** How long after the master's last sign of life another node may take over. */
  afterSeconds: wholeNumber(5, 600).default(6),
};

const eventsFields = {
  /** Events older than this are dropped on every node, by whole days. */
  retentionDays: wholeNumber(1, 3650).default(365),
};

const policy = oneOf(['serve', 'refuse']);
export type WithoutQuorumPolicy = z.infer<typeof policy>;

const APPLICATIONS_MAX = 1000;
const applicationName = z
  .string()
  .min(1)
  .max(128)
  .refine((name) => isSafeText(name) && name !== '__proto__', 'not an application name');

const withoutQuorumFields = {
  default: policy.default('serve'),
  applications: z
    .record(applicationName, policy)
    .refine((map) => Object.keys(map).length <= APPLICATIONS_MAX, 'at most 1000 applications')
    .default({}),
};

/** One document per group; its id is the group's name. Fields left out have their defaults. */
export const settingsDocument = z.discriminatedUnion('id', [
  z.strictObject({ id: z.literal('lockout'), ...lockoutFields }),
  z.strictObject({ id: z.literal('failover'), ...failoverFields }),
  z.strictObject({ id: z.literal('withoutQuorum'), ...withoutQuorumFields }),
  z.strictObject({ id: z.literal('events'), ...eventsFields }),
]);
export type SettingsDocument = z.infer<typeof settingsDocument>;

const settingsSchema = z.object({
  lockout: z.object(lockoutFields),
  failover: z.object(failoverFields),
  withoutQuorum: z.object(withoutQuorumFields),
  events: z.object(eventsFields),
});
export type Settings = z.infer<typeof settingsSchema>;
export type LockoutSettings = Settings['lockout'];

export const defaultSettings: Settings = settingsSchema.parse({
  lockout: {},
  failover: {},
  withoutQuorum: {},
  events: {},
});

/** The settings in force, given the groups that were ever set. */
export function settingsFrom(documents: readonly SettingsDocument[]): Settings {
  const groups = documents.map(({ id, ...fields }) => [id, fields] as const);
  return { ...defaultSettings, ...Object.fromEntries(groups) };
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
export const settingNames = [
  'lockout.failures',
  'lockout.resetMinutes',
  'lockout.releaseMinutes',
  'failover.mode',
  'failover.afterSeconds',
  'withoutQuorum.default',
  `${PER_APPLICATION}NAME`,
  'events.retentionDays',
] as const;

/** The value `default` takes an application out of `withoutQuorum.applications` again. */
export type SettingChange = { name: string; value: string | number };

export class SettingError extends Error {
  override readonly name = 'SettingError';
}

/** Every setting in force by name, for a list. */
export function listSettings(settings: Settings): SettingChange[] {
  const { applications, default: otherwise } = settings.withoutQuorum;
  const groups = Object.entries({ ...settings, withoutQuorum: { default: otherwise } });
  return [
    ...groups.flatMap(([group, fields]) =>
      Object.entries(fields).map(([field, value]) => ({ name: `${group}.${field}`, value })),
    ),
    ...Object.entries(applications).map(([name, value]) => ({
      name: PER_APPLICATION + name,
      value,
    })),
  ];
}

/**
 * Reads a setting as typed at a prompt.
 * @throws SettingError naming the setting and what it may be
 */
export function parseSetting(name: string, text: string): SettingChange {
  const change = { name, value: /^\d{1,9}$/.test(text) ? Number(text) : text };
  changeSetting(defaultSettings, change);
  return change;
}

/**
 * The group's document as it is after the change.
 * @throws SettingError naming the setting and what it may be
 */
export function changeSetting(settings: Settings, change: SettingChange): SettingsDocument {
  const parsed = settingsDocument.safeParse(changedGroup(settings, change));
  if (parsed.success) return parsed.data;
  const allowed = parsed.error.issues.map((issue) => issue.message).join(', ');
  throw new SettingError(`${change.name}: ${allowed}`);
}

function changedGroup(settings: Settings, { name, value }: SettingChange): object {
  if (name.startsWith(PER_APPLICATION)) {
    const { applications, ...rest } = settings.withoutQuorum;
    const application = name.slice(PER_APPLICATION.length);
    if (!applicationName.safeParse(application).success) {
      throw new SettingError(`${PER_APPLICATION}NAME: NAME is an application of 1-128 characters`);
    }
    const others = Object.entries(applications).filter(([other]) => other !== application);
    const entries = value === 'default' ? others : [...others, [application, value]];
    return { id: 'withoutQuorum', ...rest, applications: Object.fromEntries(entries) };
  }
  if (!(settingNames as readonly string[]).includes(name)) {
    throw new SettingError(`there is no setting ${name}; there are ${settingNames.join(', ')}`);
  }
  const [group, field = ''] = name.split('.');
  return { id: group, ...settings[group as keyof Settings], [field]: value };
}

// The messages name what is allowed: they are what an operator reads.
function wholeNumber(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

function oneOf<const T extends readonly string[]>(values: T) {
  return z.enum(values, { error: `must be ${values.join(' or ')}` });
}
