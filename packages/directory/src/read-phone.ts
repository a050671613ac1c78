import {
  parsePhoneNumberWithError,
  type CountryCode,
  type NumberType,
} from 'libphonenumber-js/max';

export type ReadPhone = { number: string; extension: string | null } | { why: string };

// Somebody earns on each text or call to these, or may.
const REFUSED_TYPES = new Set<NumberType>(['PREMIUM_RATE', 'SHARED_COST', 'PERSONAL_NUMBER']);

/**
 * A phone number as somebody wrote it in a directory, in E.164 form, with the extension that stands
 * behind it ("x890", "ext. 890", ";ext=890") or else the one that is given; or why it is none. At
 * most 64 characters are looked at.
 */
export function readPhone(
  written: string,
  of: { defaultCountry: string; extension?: string | null },
): ReadPhone {
  const text = written
    .trim()
    .replace(/^tel:/i, '')
    .replace(/(;\s*ext=|,?\s*ext\.?:?|,?\s*x\.?)\s*(?=\d)/i, ' x');
  if (text.length > 64 || !/^[0-9+()./ \u00a0x-]+$/i.test(text)) {
    return { why: 'not written as a phone number' };
  }
  const parsed = parse(text, of.defaultCountry);
  if (!parsed?.isValid()) return { why: `there is no such phone number` };
  if (REFUSED_TYPES.has(parsed.getType())) return { why: 'a premium or shared-cost number' };
  const extension = parsed.ext ?? of.extension ?? null;
  if (extension !== null && !/^\d{1,10}$/.test(extension)) {
    return { why: 'its extension is not 1 to 10 digits' };
  }
  return { number: parsed.number, extension };
}

function parse(text: string, defaultCountry: string) {
  try {
    const country = defaultCountry as CountryCode;
    return parsePhoneNumberWithError(text, { defaultCountry: country, extract: false });
  } catch {
    return undefined;
  }
}
