import { expect, it } from 'vitest';
import { z } from 'zod';

import {
  genericHttpSettings,
  smtpSettings,
  textProviderSettings,
  twilioSettings,
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
it('every field that holds a secret is listed as one, and is there', () => {
  const schemas = [
    [twilioSettings, ['callbackSecret', 'secret']],
    [genericHttpSettings, ['secrets.*']],
    [smtpSettings, ['password']],
  ] as const;
  for (const [schema, listed] of schemas) {
    const { properties = {} } = z.toJSONSchema(schema, { io: 'input' });
    const secrets = Object.entries(properties).flatMap(([name, property]) => {
      const { description, additionalProperties } = property as Record<string, unknown>;
      const values = additionalProperties as { description?: string } | undefined;
      if (values?.description?.includes('Stored encrypted')) return [`${name}.*`];
      return String(description).includes('ncrypted') || /^secret|password/i.test(name)
        ? [name]
        : [];
    });
    expect(secrets.sort()).toEqual(listed);
  }
});

it('unknown fields and kinds are errors, not silence', () => {
  expect(textProviderSettings.safeParse({ ...twilio, tokn: 'x' }).success).toBe(false);
  expect(textProviderSettings.safeParse({ ...twilio, kind: 'pigeon' }).success).toBe(false);
  expect(textProviderSettings.parse(generic)).toEqual(generic);
});
