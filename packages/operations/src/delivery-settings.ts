import {
  smtpSettings,
  textProviderSettings,
  type PhonePolicy,
  type SmtpSettings,
} from '@countersign/delivery';
import type { PurposeKey } from '@countersign/keys';
import type { Settings } from '@countersign/verification';
import { z } from 'zod';
import { openSetting } from './sealed-settings.ts';

const providersSchema = z
  .array(textProviderSettings)
  .max(10)
  .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'names must differ');

export type TextProviders = z.output<typeof providersSchema>;

/** What is wrong with providers of texts, JSON by now; null: nothing. It names fields, never values. */
export function checkTextProviders(json: string): string | null {
  const parsed = providersSchema.safeParse(JSON.parse(json));
  if (parsed.success) return null;
  const problems = parsed.error.issues
    .slice(0, 5)
    .map(({ path, message }) => `${path.join('.') || 'list'}: ${message}`);
  return problems.join('; ');
}

/**
 * Who sends texts, in the order in which they are tried, with their secrets; none while the setting is not set.
 * @throws KeyError if they cannot be opened
 */
export function textProvidersOf(seedKey: PurposeKey, settings: Settings): TextProviders {
  const json = openSetting(seedKey, settings, 'text.providers');
  return json === null ? [] : providersSchema.parse(JSON.parse(json));
}

/**
 * Where mails go; null while no server or sender is set, or a user without a password.
 * @throws KeyError if the password cannot be opened
 */
export function mailServerOf(seedKey: PurposeKey, settings: Settings): SmtpSettings | null {
  const { host, port, security, user, from, fromName, trustedCertificates } = settings.mail;
  const password = openSetting(seedKey, settings, 'mail.password');
  if (host === '' || from === '' || (user !== '' && password === null)) return null;
  return smtpSettings.parse({
    kind: 'smtp',
    name: 'mail',
    host,
    port,
    security,
    from,
    fromName: fromName === '' ? settings.company.name : fromName,
    ...(user !== '' && { user, password }),
    ...(trustedCertificates !== '' && { trustedCertificates }),
  });
}

/** Which numbers texts and calls may go to. */
export function phonePolicyOf({ text }: Settings): PhonePolicy {
  const { defaultCountry, countries } = text;
  return { defaultCountry, allowedCountries: countries.length > 0 ? countries : [defaultCountry] };
}
