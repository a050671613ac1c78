import { z } from 'zod';
import { METHODS } from './methods.ts';
import { isSafeText } from './safe-text.ts';
import { parseAddressRange } from './trusted-address.ts';

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

const methodsFields = {
  /** Of users who have none of their own. */
  default: oneOf(METHODS).default('oath'),
  oathMode: oneOf(['code', 'code+pin']).default('code'),
  textMode: oneOf(['otp', 'otp+pin']).default('otp'),
  callMode: oneOf(['standard', 'pin']).default('standard'),
  appMode: oneOf(['approve', 'pin', 'number']).default('number'),
  /** Whether a code of a token is taken where another method was begun. */
  oathFallback: yesOrNo().default(true),
  /** Digits of a code that is sent. */
  codeDigits: wholeNumber(6, 8).default(6),
  /** How long an answer is waited for. */
  answerMinutes: wholeNumber(1, 10).default(5),
};

const pinFields = {
  minLength: wholeNumber(4, 16).default(4),
  /** 0: never. */
  expiryDays: wholeNumber(0, 3650).default(0),
  /** So many earlier PINs are refused. */
  history: wholeNumber(0, 24).default(5),
  /** Refuses 1111, 1234 and the like. */
  refuseWeak: yesOrNo().default(true),
};

const bypassFields = {
  seconds: wholeNumber(10, 86_400).default(300),
};

const cachingFields = {
  /** After a success the second step is skipped for the same user, from the same address, at the same application. */
  mode: oneOf(['off', 'user', 'user+address', 'user+application+address']).default('off'),
  minutes: wholeNumber(1, 1440).default(60),
};

const trustedIpsFields = {
  /** From these the second step is skipped: addresses, `first-last`, or subnets. */
  ranges: z
    .array(
      z
        .string()
        .max(100)
        .refine((text) => parseAddressRange(text) !== null, {
          error: 'must be addresses, ranges first-last, or subnets like 192.0.2.0/24',
        }),
      { error: 'must be a list' },
    )
    .max(200, { error: 'must be at most 200 ranges' })
    .default([]),
};

const blocksFields = {
  /** How long a block lasts that does not say. */
  days: wholeNumber(1, 3650).default(90),
  /** Whether somebody who reports fraud is blocked. */
  onFraud: yesOrNo().default(true),
};

const textsFields = {
  perUserAndHour: wholeNumber(1, 100).default(5),
  perUserAndDay: wholeNumber(1, 1000).default(20),
};

const enrolmentFields = {
  /** How long an enrolment code is good. */
  windowDays: wholeNumber(1, 90).default(14),
};

const groups = {
  lockout: lockoutFields,
  failover: failoverFields,
  withoutQuorum: withoutQuorumFields,
  events: eventsFields,
  methods: methodsFields,
  pin: pinFields,
  bypass: bypassFields,
  caching: cachingFields,
  trustedIps: trustedIpsFields,
  blocks: blocksFields,
  texts: textsFields,
  enrolment: enrolmentFields,
};

/** One document per group; its id is the group's name. Fields left out have their defaults. */
export const settingsDocument = z.discriminatedUnion('id', [
  z.strictObject({ id: z.literal('lockout'), ...lockoutFields }),
  z.strictObject({ id: z.literal('failover'), ...failoverFields }),
  z.strictObject({ id: z.literal('withoutQuorum'), ...withoutQuorumFields }),
  z.strictObject({ id: z.literal('events'), ...eventsFields }),
  z.strictObject({ id: z.literal('methods'), ...methodsFields }),
  z.strictObject({ id: z.literal('pin'), ...pinFields }),
  z.strictObject({ id: z.literal('bypass'), ...bypassFields }),
  z.strictObject({ id: z.literal('caching'), ...cachingFields }),
  z.strictObject({ id: z.literal('trustedIps'), ...trustedIpsFields }),
  z.strictObject({ id: z.literal('blocks'), ...blocksFields }),
  z.strictObject({ id: z.literal('texts'), ...textsFields }),
  z.strictObject({ id: z.literal('enrolment'), ...enrolmentFields }),
]);
export type SettingsDocument = z.infer<typeof settingsDocument>;

const settingsSchema = z.object({
  lockout: z.object(lockoutFields),
  failover: z.object(failoverFields),
  withoutQuorum: z.object(withoutQuorumFields),
  events: z.object(eventsFields),
  methods: z.object(methodsFields),
  pin: z.object(pinFields),
  bypass: z.object(bypassFields),
  caching: z.object(cachingFields),
  trustedIps: z.object(trustedIpsFields),
  blocks: z.object(blocksFields),
  texts: z.object(textsFields),
  enrolment: z.object(enrolmentFields),
});
export type Settings = z.infer<typeof settingsSchema>;
export type LockoutSettings = Settings['lockout'];

export const defaultSettings: Settings = settingsSchema.parse(
  Object.fromEntries(Object.keys(groups).map((group) => [group, {}])),
);

/** The settings in force, given the groups that were ever set. */
export function settingsFrom(documents: readonly SettingsDocument[]): Settings {
  const set = documents.map(({ id, ...fields }) => [id, { ...defaultSettings[id], ...fields }]);
  return { ...defaultSettings, ...Object.fromEntries(set) };
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
export const settingNames: readonly string[] = Object.entries(groups).flatMap(([group, fields]) =>
  Object.keys(fields).map((field) => {
    const name = `${group}.${field}`;
    return `${name}.` === PER_APPLICATION ? `${PER_APPLICATION}NAME` : name;
  }),
);

export type SettingValue = string | number | boolean | string[];

/** The value `default` takes an application out of `withoutQuorum.applications` again. */
export type SettingChange = { name: string; value: SettingValue };

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
  const change = { name, value: readValue(name, text) };
  changeSetting(defaultSettings, change);
  return change;
}

function readValue(name: string, text: string): SettingValue {
  const [group = '', field = ''] = name.split('.');
  const standard = (defaultSettings as Record<string, Record<string, unknown>>)[group]?.[field];
  if (Array.isArray(standard)) {
    return text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
  }
  if (typeof standard === 'boolean' && /^(true|false)$/.test(text)) return text === 'true';
  return /^\d{1,9}$/.test(text) ? Number(text) : text;
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
  if (!settingNames.includes(name) || name.endsWith('.NAME')) {
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

function yesOrNo() {
  return z.boolean({ error: 'must be true or false' });
}

function oneOf<const T extends readonly string[]>(values: T) {
  return z.enum(values, { error: `must be ${values.join(' or ')}` });
}
