import { z } from 'zod';

import { isCleanLine } from './clean-text.ts';
import { readMailAddress } from './mail/mail-address.ts';
import { checkPlaceholders } from './placeholders.ts';
import { languages } from './templates/languages.ts';
import { checkMailTemplate, checkTextTemplate } from './templates/render.ts';
import {
  mailSituations,
  textSituations,
  type MailSituation,
  type TextSituation,
} from './templates/situations.ts';

const line = (maxLength: number) =>
  z.string().min(1).max(maxLength).refine(isCleanLine, 'holds control or invisible characters');

const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'lower-case letters, digits and -, at most 32')
  .describe('What events and metrics call this provider.');

const secret = (what: string) => line(512).describe(`${what} Stored encrypted, never shown again.`);

// Nothing but scheme, host and port: what follows comes from elsewhere, and no value ever from here.
const origin = z
  .url({ protocol: /^https?$/ })
  .refine((text) => URL.canParse(text) && isOrigin(new URL(text)), 'only scheme, host and port');

function isOrigin(url: URL): boolean {
  return url.href === `${url.origin}/` && !/[<>$]/.test(url.host);
}

const publicUrl = z.url({ protocol: /^https$/ }).max(512);

const trustedCertificates = z
  .string()
  .max(64 * 1024)
  .regex(/^\s*-----BEGIN CERTIFICATE-----/, 'certificates as PEM')
  .describe('PEM certificates of the authorities to trust instead of the public ones.');

const costPerSegment = z
  .strictObject({
    amount: z.number().min(0).max(100),
    currency: z.string().regex(/^[A-Z]{3}$/, 'three capitals, such as EUR'),
  })
  .describe('The price of one text or part of one, where the provider does not tell it.');

export const twilioSettings = z
  .strictObject({
    kind: z.literal('twilio'),
    name,
    url: origin.default('https://api.twilio.com').describe('Where the API is.'),
    accountSid: z
      .string()
      .regex(/^[A-Za-z0-9]{2,64}$/)
      .describe('The account.'),
    apiKeySid: z
      .string()
      .regex(/^[A-Za-z0-9]{2,64}$/)
      .optional()
      .describe('The API key whose secret is used; left out, it is the auth token.'),
    secret: secret('The auth token, or the secret of the API key.'),
    callbackSecret: secret(
      'The auth token that signs callbacks, where an API key is used.',
    ).optional(),
    from: z
      .string()
      .regex(/^(\+[1-9][0-9]{7,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11})$/)
      .optional()
      .describe('The sender: a number, a short code or a name of at most 11 characters.'),
    messagingServiceSid: z
      .string()
      .regex(/^[A-Za-z0-9]{2,64}$/)
      .optional()
      .describe('A messaging service that chooses the sender, instead of `from`.'),
    statusCallbackUrl: publicUrl
      .optional()
      .describe('Our public address for status callbacks; their signature is checked against it.'),
    trustedCertificates: trustedCertificates.optional(),
    costPerSegment: costPerSegment.optional(),
  })
  .refine(
    ({ from, messagingServiceSid }) => (from === undefined) !== (messagingServiceSid === undefined),
    'either `from` or `messagingServiceSid`',
  )
  .refine(
    (value) => !value.statusCallbackUrl || !value.apiKeySid || value.callbackSecret !== undefined,
    'callbacks are signed with the auth token: with an API key it is needed in `callbackSecret`',
  );

export type JsonTemplate =
  | string
  | number
  | boolean
  | null
  | JsonTemplate[]
  | { [name: string]: JsonTemplate };

const template = z.string().max(2_000);
const fields = z
  .record(z.string().min(1).max(64), template)
  .refine((value) => Object.keys(value).length <= 32, 'at most 32');

// What a connection needs decides itself, and must not be moved to another host by a header.
const ownHeaders =
  /^(host|content-length|transfer-encoding|connection|upgrade|te|trailer|expect)$/i;

export const genericHttpSettings = z
  .strictObject({
    kind: z.literal('generic-http'),
    name,
    url: origin.describe('Scheme, host and port of the gateway. Never a template.'),
    method: z.enum(['GET', 'POST', 'PUT']).default('POST'),
    path: z
      .string()
      .max(512)
      .regex(
        /^\/([A-Za-z0-9._~!&'()*+,;=:@/-]|<\$[^<>$]*\$>|\$(?!>))*$/,
        'a path that needs no encoding',
      )
      .refine((path) => !/(^|\/)\.{1,2}(\/|$)/.test(path), 'no . or .. as a step')
      .describe('Path; values are encoded as parts of a URL.'),
    query: fields.default({}).describe('Query parameters by name; values are encoded.'),
    headers: z
      .record(z.string().regex(/^[A-Za-z0-9-]{1,64}$/), template)
      .refine((value) => Object.keys(value).length <= 16, 'at most 16')
      .refine(
        (value) => !Object.keys(value).some((key) => ownHeaders.test(key)),
        'a header of our own',
      )
      .default({})
      .describe('Headers by name; a value that is not printable ASCII refuses the message.'),
    body: z
      .discriminatedUnion('kind', [
        z.strictObject({ kind: z.literal('form'), fields }),
        z.strictObject({
          kind: z.literal('json'),
          value: (z.json() as z.ZodType<JsonTemplate>).refine(
            (value) => JSON.stringify(value).length <= 8_192,
            'at most 8 KiB',
          ),
        }),
      ])
      .optional()
      .describe('A form, or JSON in which every string is a template.'),
    secrets: z
      .record(z.string().regex(/^[a-z0-9_]{1,32}$/), secret('A credential of the gateway.'))
      .refine((value) => Object.keys(value).length <= 8, 'at most 8')
      .default({})
      .describe('Credentials, written <$secret.name$> in the templates.'),
    success: z
      .strictObject({
        statusFrom: z.int().min(200).max(299).default(200),
        statusTo: z.int().min(200).max(299).default(299),
        bodyIncludes: z.string().min(1).max(256).optional(),
        bodyMatches: z
          .string()
          .min(1)
          .max(256)
          .refine(isPattern, 'not a regular expression')
          .optional(),
      })
      .prefault({})
      .describe(
        'What an answer must be to count as sent. `bodyMatches` is a regular expression; its group ' +
          '`id`, as in (?<id>[0-9]+), becomes the message id.',
      ),
    trustedCertificates: trustedCertificates.optional(),
    costPerSegment: costPerSegment.optional(),
  })
  .superRefine((value, context) => {
    const known = ['id', 'to', 'to_digits', 'text'];
    known.push(...Object.keys(value.secrets).map((key) => `secret.${key}`));
    for (const [path, text] of listTemplates(value)) {
      for (const message of checkPlaceholders(text, known)) {
        context.addIssue({ code: 'custom', path, message });
      }
    }
    if (value.method === 'GET' && value.body) {
      context.addIssue({ code: 'custom', path: ['body'], message: 'GET has no body' });
    }
  });

function isPattern(pattern: string): boolean {
  try {
    return new RegExp(pattern, 'u') instanceof RegExp;
  } catch {
    return false;
  }
}

type TemplateAt = [path: (string | number)[], text: string];

function listTemplates(value: {
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  body?:
    | { kind: 'form'; fields: Record<string, string> }
    | { kind: 'json'; value: JsonTemplate }
    | undefined;
}): TemplateAt[] {
  const { path, query, headers, body } = value;
  const ofBody = body?.kind === 'form' ? body.fields : (body?.value ?? null);
  return [
    [['path'], path],
    ...listStrings(query, ['query']),
    ...listStrings(headers, ['headers']),
    ...listStrings(ofBody, ['body']),
  ];
}

function listStrings(value: JsonTemplate, path: (string | number)[]): TemplateAt[] {
  if (typeof value === 'string') return [[path, value]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => listStrings(item, [...path, key]));
}

export const textProviderSettings = z.discriminatedUnion('kind', [
  twilioSettings,
  genericHttpSettings,
]);

export const smtpSettings = z
  .strictObject({
    kind: z.literal('smtp'),
    name,
    host: z
      .string()
      .regex(/^[A-Za-z0-9.:-]{1,253}$/)
      .describe('Name or address of the mail server.'),
    port: z.int().min(1).max(65_535).default(587),
    security: z
      .enum(['starttls', 'tls', 'plain'])
      .default('starttls')
      .describe('`starttls` and `tls` refuse a server without; `plain` encrypts nothing.'),
    user: line(256).optional(),
    password: secret('The password of `user`.').optional(),
    from: z
      .string()
      .refine((text) => readMailAddress(text) === text, 'not a mail address')
      .describe('The address that mails come from; its domain is that of their Message-IDs.'),
    fromName: line(128).default('Countersign').describe('The name beside it.'),
    helloName: z
      .string()
      .regex(/^[A-Za-z0-9.-]{1,253}$/)
      .default('localhost')
      .describe('What we call ourselves to the mail server.'),
    trustedCertificates: trustedCertificates.optional(),
  })
  .refine(({ user, password }) => (user === undefined) === (password === undefined), {
    message: '`user` and `password` go together',
  })
  .refine(({ user, security }) => user === undefined || security !== 'plain', {
    message: 'a password needs `starttls` or `tls`',
  });

export type TwilioSettings = z.infer<typeof twilioSettings>;
export type GenericHttpSettings = z.infer<typeof genericHttpSettings>;
export type SmtpSettings = z.infer<typeof smtpSettings>;
export type ProviderSettings = TwilioSettings | GenericHttpSettings | SmtpSettings;

const textTemplates = z
  .partialRecord(z.enum(keysOf(textSituations)), z.string().max(480))
  .superRefine((value, context) => {
    for (const [situation, text] of Object.entries(value)) {
      for (const message of checkTextTemplate(situation as TextSituation, text)) {
        context.addIssue({ code: 'custom', path: [situation], message });
      }
    }
  });

const mailTemplates = z
  .partialRecord(
    z.enum(keysOf(mailSituations)),
    z.strictObject({ subject: z.string().max(200), body: z.string().max(10_000) }),
  )
  .superRefine((value, context) => {
    for (const [situation, mail] of Object.entries(value)) {
      for (const message of checkMailTemplate(situation as MailSituation, mail)) {
        context.addIssue({ code: 'custom', path: [situation], message });
      }
    }
  });

/** By language, then situation. */
export const templateOverrides = z
  .record(
    z.string().max(16),
    z.strictObject({ texts: textTemplates.optional(), mails: mailTemplates.optional() }),
  )
  .superRefine((value, context) => {
    for (const code of Object.keys(value).filter((code) => !languages.has(code))) {
      const message = `there is no such language; there are ${[...languages.keys()].join(', ')}`;
      context.addIssue({ code: 'custom', path: [code], message });
    }
  })
  .describe('Templates of your own instead of the built-in ones, by language and situation.');

export type TemplateOverrides = z.infer<typeof templateOverrides>;

function keysOf<T extends object>(value: T): [keyof T & string, ...(keyof T & string)[]] {
  return Object.keys(value) as [keyof T & string, ...(keyof T & string)[]];
}
