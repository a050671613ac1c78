import { cleanLine } from '../clean-text.ts';
import {
  checkPlaceholders,
  fillPlaceholders,
  listPlaceholders,
  TemplateError,
} from '../placeholders.ts';
import type { TemplateOverrides } from '../settings-schema.ts';
import { chooseLanguage } from './languages.ts';
import {
  mailSituations,
  placeholderKinds,
  textSituations,
  type Language,
  type MailSituation,
  type MailTemplate,
  type Placeholder,
  type Situation,
  type TextSituation,
  type ValueKind,
  type ValuesOf,
} from './situations.ts';

export interface RenderOptions {
  /** The person's, then the company's. */
  languages: readonly (string | undefined)[];
  /** From the settings; checked when they were set. */
  overrides?: TemplateOverrides | undefined;
  /** The configured portal address: every link must begin with its origin. */
  portalUrl?: string | undefined;
  /** IANA name of the zone that times are written in; UTC when left out. RangeError if unknown. */
  timeZone?: string | undefined;
}

/**
 * The text of a message. Throws TemplateError where a value is missing or not what its kind asks.
 */
export function renderText<S extends TextSituation>(
  situation: S,
  values: ValuesOf<(typeof textSituations)[S]>,
  options: RenderOptions,
): string {
  const language = chooseLanguage(options.languages);
  const override = options.overrides?.[language.code]?.texts?.[situation];
  const cleaned = cleanValues(textSituations[situation], values, { ...options, language });
  return fillPlaceholders(override ?? language.texts[situation], cleaned);
}

/** Subject and body of a mail; throws TemplateError as `renderText` does. */
export function renderMail<S extends MailSituation>(
  situation: S,
  values: ValuesOf<(typeof mailSituations)[S]>,
  options: RenderOptions,
): { subject: string; text: string } {
  const language = chooseLanguage(options.languages);
  const override = options.overrides?.[language.code]?.mails?.[situation];
  const { subject, body } = override ?? language.mails[situation];
  const cleaned = cleanValues(mailSituations[situation], values, { ...options, language });
  const lines = body.split('\n').filter((line) => isLineKnown(line, cleaned));
  const text = fillPlaceholders(lines.join('\n'), cleaned)
    .replace(/\n{3,}/g, '\n\n')
    .trim();
  return { subject: cleanLine(fillPlaceholders(subject, cleaned), 256), text: `${text}\n` };
}

/** What is wrong with a text template of an operator's; [] where nothing is. */
export function checkTextTemplate(situation: TextSituation, template: string): string[] {
  const problems = checkAgainst(textSituations[situation], template);
  const hasCode = isIn(textSituations[situation].required, 'code');
  if (hasCode && !listPlaceholders(template).includes('code')) problems.push('<$code$> is missing');
  if (template.length > 480) problems.push('a text template has at most 480 characters');
  if (template !== cleanLine(template, 480)) problems.push('a text template is one plain line');
  return problems;
}

/** What is wrong with a mail template of an operator's; [] where nothing is. */
export function checkMailTemplate(situation: MailSituation, template: MailTemplate): string[] {
  const { subject, body } = template;
  const allowed: Situation = mailSituations[situation];
  const problems = checkAgainst(allowed, subject).concat(checkAgainst(allowed, body));
  const secretsInSubject = listPlaceholders(subject).filter((name) => !fitsSubject(name));
  problems.push(...secretsInSubject.map((name) => `<$${name}$> must not stand in a subject`));
  const optional = listPlaceholders(subject).filter((name) => !isIn(allowed.required, name));
  problems.push(
    ...optional.map((name) => `<$${name}$> can be empty and must not stand in a subject`),
  );
  if (subject.trim() === '') problems.push('a mail has a subject');
  if (subject !== cleanLine(subject, 200)) problems.push('a subject is one plain line of ≤ 200');
  if (body.length > 10_000) problems.push('a body has at most 10,000 characters');
  if (body.split('\n').some((line) => line.trimEnd() !== cleanKeepingSpaces(line))) {
    problems.push('a body holds control or invisible characters');
  }
  return problems;
}

function checkAgainst({ required, optional }: Situation, template: string): string[] {
  return checkPlaceholders(template, [...required, ...optional]);
}

// Subjects are shown on locked screens and kept in logs of mail servers.
function fitsSubject(name: string): boolean {
  const kind = (placeholderKinds as Record<string, ValueKind>)[name];
  return name === 'phone_ending' || (kind !== 'code' && kind !== 'link');
}

const isIn = (names: readonly string[], name: string) => names.includes(name);

const cleanKeepingSpaces = (line: string) =>
  line
    .split(' ')
    .map((word) => cleanLine(word, 10_000))
    .join(' ')
    .trimEnd();

function isLineKnown(line: string, values: Record<string, string>): boolean {
  return listPlaceholders(line).every((name) => Object.hasOwn(values, name));
}

interface ValueRules {
  language: Language;
  portalUrl?: string | undefined;
  timeZone?: string | undefined;
}

/** All that is required is there, nothing else is, and all of it is fit for a message. */
function cleanValues(
  situation: Situation,
  values: Readonly<Partial<Record<string, string | number | Date>>>,
  rules: ValueRules,
): Record<string, string> {
  const cleaned: Record<string, string> = {};
  for (const name of [...situation.required, ...situation.optional]) {
    const value = values[name];
    if (value === undefined && !isIn(situation.required, name)) continue;
    const text = value === undefined ? undefined : cleanValue(name, value, rules);
    if (text === undefined) throw new TemplateError(`<$${name}$> has no value that fits`);
    cleaned[name] = text;
  }
  return cleaned;
}

// Those that stand in text messages, which are paid by length.
const shortNames = new Set<Placeholder>(['application_name', 'company_name']);

function cleanValue(
  name: Placeholder,
  value: string | number | Date,
  rules: ValueRules,
): string | undefined {
  const kind: ValueKind = placeholderKinds[name];
  const text = String(value);
  switch (kind) {
    // Of a name made of invisible characters only, something must be seen.
    case 'name':
      return cleanLine(text, shortNames.has(name) ? 64 : 128) || '?';
    case 'time':
      return formatTime(value, rules);
    case 'number':
      return /^\d{1,9}$/.test(text) ? text : undefined;
    case 'code':
      return /^[A-Za-z0-9-]{1,64}$/.test(text) ? text : undefined;
    case 'link':
      return cleanLink(text, rules.portalUrl);
  }
}

function formatTime(
  value: unknown,
  { language, timeZone = 'UTC' }: ValueRules,
): string | undefined {
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) return undefined;
  const format = new Intl.DateTimeFormat(language.locale, { ...timeParts, timeZone });
  return cleanLine(format.format(value), 64);
}

const timeParts: Intl.DateTimeFormatOptions = {
  year: 'numeric',
  month: 'long',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  timeZoneName: 'short',
};

// Only to the configured portal: a link in our mail is trusted because we sent it.
function cleanLink(value: string, portalUrl: string | undefined): string | undefined {
  if (portalUrl === undefined || value.length > 1_024 || !URL.canParse(value)) return undefined;
  const url = new URL(value);
  const isPortal = url.origin === new URL(portalUrl).origin && url.username + url.password === '';
  return isPortal && /^https?:$/.test(url.protocol) ? url.href : undefined;
}
