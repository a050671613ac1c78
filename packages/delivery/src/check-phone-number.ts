import {
  parsePhoneNumberWithError,
  type CountryCode,
  type NumberType,
} from 'libphonenumber-js/max';

export interface PhonePolicy {
  /** ISO 3166 code of numbers written without one. */
  defaultCountry: string;
  /** ISO 3166 codes; only the default country when left out. */
  allowedCountries?: readonly string[] | undefined;
}

export type PhoneRefusal =
  | 'malformed'
  | 'not_a_number'
  | 'premium'
  | 'wrong_type'
  | 'country_not_allowed'
  | 'extension_not_allowed';

export type PhoneCheck =
  | { ok: true; number: string; country: string; extension?: string }
  | { ok: false; reason: PhoneRefusal; message: string };

// Somebody earns on each text or call to these, or may.
const premiumTypes = new Set<NumberType>(['PREMIUM_RATE', 'SHARED_COST', 'PERSONAL_NUMBER']);
const textTypes: NumberType[] = ['MOBILE', 'FIXED_LINE', 'FIXED_LINE_OR_MOBILE', 'VOIP'];
// A company's own number (UAN, such as 088 in the Netherlands) rings, mostly with an extension.
const typesFor = { text: new Set(textTypes), call: new Set([...textTypes, 'UAN' as const]) };

/**
 * Whether texts or calls may go to a number as somebody wrote it, and its E.164 form. An extension
 * ("x890") is only for calls. Numbers that belong to no country (satellites, +979) are refused.
 */
export function checkPhoneNumber(
  written: string,
  policy: PhonePolicy,
  use: 'text' | 'call',
): PhoneCheck {
  const text = written.trim();
  if (text.length > 64 || !/^[0-9+()./ \u00a0x-]+$/i.test(text.replace(/ext\.?/i, 'x'))) {
    return refuse('malformed', 'only digits, spaces, + ( ) - . / and an extension such as x890');
  }
  const parsed = parse(text, policy.defaultCountry);
  if (!parsed?.isValid()) {
    return refuse('not_a_number', 'there is no such phone number; write it like +31612345678');
  }
  const { number, country, ext } = parsed;
  const type = parsed.getType();
  if (premiumTypes.has(type))
    return refuse('premium', 'premium and shared-cost numbers are refused');
  const { allowedCountries = [policy.defaultCountry] } = policy;
  if (!country || !allowedCountries.includes(country)) {
    const where = country ? `numbers of ${country}` : 'numbers of no country';
    return refuse('country_not_allowed', `${where} are not among the allowed countries`);
  }
  if (!typesFor[use].has(type))
    return refuse('wrong_type', `the number is not one that takes a ${use}`);
  if (ext !== undefined && use === 'text') {
    return refuse('extension_not_allowed', 'a text cannot be sent to an extension');
  }
  return { ok: true, number, country, ...(ext !== undefined && { extension: ext }) };
}

function parse(text: string, defaultCountry: string) {
  try {
    const country = defaultCountry as CountryCode;
    return parsePhoneNumberWithError(text, { defaultCountry: country, extract: false });
  } catch {
    return undefined;
  }
}

function refuse(reason: PhoneRefusal, message: string): PhoneCheck {
  return { ok: false, reason, message };
}
