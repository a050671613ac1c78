import { expect, it } from 'vitest';
import { z } from 'zod';

import {
  genericHttpSettings,
  movesSecrets,
  secretPaths,
  smtpSettings,
  textProviderSettings,
  twilioSettings,
  type ProviderSettings,
} from './settings-schema.ts';

const twilio = twilioSettings.parse({
  kind: 'twilio',
  name: 'twilio',
  accountSid: 'AC1',
  secret: 'auth-token',
  from: 'Acme',
});
const generic = genericHttpSettings.parse({
  kind: 'generic-http',
  name: 'gateway',
  url: 'https://gateway.example',
  path: '/send',
  secrets: { key: 'api-key' },
});
const smtp = smtpSettings.parse({
  kind: 'smtp',
  name: 'mail',
  host: 'mail.acme.example',
  from: 'a@b.example',
});

it('every field that holds a secret is listed as one, and is there', () => {
  const schemas = {
    twilio: twilioSettings,
    'generic-http': genericHttpSettings,
    smtp: smtpSettings,
  };
  for (const [kind, schema] of Object.entries(schemas)) {
    const { properties = {} } = z.toJSONSchema(schema, { io: 'input' });
    const secrets = Object.entries(properties).flatMap(([name, property]) => {
      const { description, additionalProperties } = property as Record<string, unknown>;
      const values = additionalProperties as { description?: string } | undefined;
      if (values?.description?.includes('Stored encrypted')) return [`${name}.*`];
      return String(description).includes('ncrypted') || /^secret|password/i.test(name)
        ? [name]
        : [];
    });
    expect(secrets.sort()).toEqual(secretPaths[kind as ProviderSettings['kind']].toSorted());
  }
});

it('a secret does not move to another host without being given again', () => {
  expect(movesSecrets(twilio, { ...twilio, name: 'other', from: 'Acme IT' })).toBe(false);
  expect(movesSecrets(twilio, { ...twilio, url: 'https://evil.example' })).toBe(true);
  expect(movesSecrets(generic, { ...generic, path: '/other' })).toBe(false);
  expect(movesSecrets(generic, { ...generic, url: 'https://gateway.example:444' })).toBe(true);
  expect(movesSecrets(generic, { ...twilio, url: generic.url })).toBe(true);
  expect(movesSecrets(smtp, { ...smtp, fromName: 'Acme' })).toBe(false);
  for (const change of [{ host: 'evil.example' }, { port: 25 }, { security: 'plain' as const }]) {
    expect(movesSecrets(smtp, { ...smtp, ...change })).toBe(true);
  }
  const trustedCertificates = '-----BEGIN CERTIFICATE-----\nMII';
  expect(movesSecrets(smtp, { ...smtp, trustedCertificates })).toBe(true);
});

it('unknown fields and kinds are errors, not silence', () => {
  expect(textProviderSettings.safeParse({ ...twilio, tokn: 'x' }).success).toBe(false);
  expect(textProviderSettings.safeParse({ ...twilio, kind: 'pigeon' }).success).toBe(false);
  expect(textProviderSettings.parse(generic)).toEqual(generic);
});
