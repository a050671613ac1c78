import { z } from 'zod';
import { isSafeText } from './safe-text.ts';

/** As told and given: a secret as plain text, a list as its parts. */
export type SettingValue = string | number | boolean | string[];

/** A setting that is a secret, as documents hold it. */
const sealedValue = z.strictObject({
  /** Base64; opens only together with the settings that say where the secret is sent. */
  sealed: z.base64().min(4).max(65_536),
  /** What may be shown of it. */
  summary: z.string().max(500).refine(isSafeText).optional(),
});
export type SealedValue = z.infer<typeof sealedValue>;

/** One setting: everything that its checks, its page in the manual and the command line know of it. */
export type Setting<T = unknown> = {
  kind: 'whole number' | 'one of' | 'true or false' | 'text' | 'list' | 'by application' | 'secret';
  /** Of its value in a document. */
  schema: z.ZodType<T>;
  standard: T;
  /** What it may be, in the words of its error. */
  allowed: string;
  unit: string | null;
  about: string;
  /** Who may have a value of their own. */
  overriddenBy: readonly Overrider[];
  secret: SecretRules | null;
  /** A value as typed; what cannot be read is left for the schema to refuse. */
  read(text: string): unknown;
};
export type Overrider = 'application' | 'user';

export type SecretRules = {
  /** Settings of its group that say where it is sent: whoever changes one has to give the secret again. */
  sentTo: readonly string[];
  /** What is wrong with it, in words that do not repeat it; null: nothing. */
  check(text: string): string | null;
  summarise(text: string): string | undefined;
};

type About<T> = {
  about: string;
  standard: T;
  unit?: string;
  overriddenBy?: readonly Overrider[];
};

export function wholeNumber(
  options: About<number> & { min: number; max: number },
): Setting<number> {
  const allowed = `a whole number from ${options.min} to ${options.max}`;
  const error = mustBe(allowed);
  return {
    ...common(options),
    kind: 'whole number',
    schema: z.int({ error }).min(options.min, { error }).max(options.max, { error }),
    allowed,
    read: (text) => (/^\d{1,9}$/.test(text) ? Number(text) : text),
  };
}

export function oneOf<const T extends readonly string[]>(
  values: T,
  options: About<T[number]>,
): Setting<T[number]> {
  const allowed = values.join(' or ');
  return {
    ...common(options),
    kind: 'one of',
    schema: z.enum(values, { error: mustBe(allowed) }) as z.ZodType<T[number]>,
    allowed,
    read: (text) => text,
  };
}

export function yesOrNo(options: About<boolean>): Setting<boolean> {
  return {
    ...common(options),
    kind: 'true or false',
    schema: z.boolean({ error: mustBe('true or false') }),
    allowed: 'true or false',
    read: (text) => (/^(true|false)$/.test(text) ? text === 'true' : text),
  };
}

type TextRules = {
  maxLength: number;
  /** What it is, in the words of its error. */
  allowed: string;
  isValid?(text: string): boolean;
  /** Whether it may have several lines. */
  isLong?: boolean;
};

/** One line, unless `isLong`; characters that could rewrite a terminal are never allowed. */
export function text(options: About<string> & TextRules): Setting<string> {
  return {
    ...common(options),
    kind: 'text',
    schema: textSchema(options, options.standard),
    allowed: options.allowed,
    read: (typed) => (options.isLong ? typed : typed.trim()),
  };
}

export function listOf(
  options: Omit<About<string[]>, 'standard'> & TextRules & { max: number; standard?: string[] },
): Setting<string[]> {
  const { max, standard = [], ...rest } = options;
  const allowed = `${options.allowed}; at most ${max}`;
  return {
    ...common({ ...rest, standard }),
    kind: 'list',
    schema: z
      .array(textSchema(options, null), { error: mustBe('a list') })
      .max(max, { error: mustBe(`at most ${max}`) }),
    allowed,
    read: (typed) =>
      typed
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== ''),
  };
}

/** A value for each application by name; what becomes of their own settings now was kept here before. */
export function byApplication<T extends string>(
  value: Setting<T>,
  options: { about: string; name: z.ZodType<string>; max: number },
): Setting<Record<string, T>> {
  const { about, name, max } = options;
  return {
    ...common({ about, standard: {} }),
    kind: 'by application',
    schema: z
      .record(name as z.core.$ZodRecordKey, value.schema)
      .refine((map) => Object.keys(map).length <= max, mustBe(`for at most ${max} applications`))
      .transform((map) => map as Record<string, T>),
    allowed: value.allowed,
    read: value.read,
  };
}

/** Kept sealed. It is shown by nothing but its summary. */
export function secret(
  options: { about: string; allowed: string } & Partial<SecretRules> & Pick<SecretRules, 'check'>,
): Setting<SealedValue | null> {
  const { about, allowed, check, sentTo = [], summarise = () => undefined } = options;
  return {
    ...common({ about, standard: null }),
    kind: 'secret',
    schema: sealedValue.nullable(),
    allowed,
    secret: { check, sentTo, summarise },
    read: (typed) => typed,
  };
}

function common<T>({ about, standard, unit, overriddenBy = [] }: About<T>) {
  return { about, standard, unit: unit ?? null, overriddenBy, secret: null };
}

function textSchema({ maxLength, allowed, isValid, isLong }: TextRules, standard: string | null) {
  const error = mustBe(allowed);
  return z
    .string({ error })
    .max(maxLength, { error })
    .refine((value) => isSafeText(isLong ? value.replaceAll(/\r?\n/g, '') : value), { error })
    .refine((value) => value === standard || isValid === undefined || isValid(value), { error });
}

function mustBe(allowed: string): string {
  return `must be ${allowed}`;
}
