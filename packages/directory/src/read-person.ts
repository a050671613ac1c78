import type { Entry } from './bound-client.ts';
import { findDnKey } from './dn.ts';
import { readPhone } from './read-phone.ts';
import type { AttributeMap, DirectoryConfig, Person, PhoneKind } from './types.ts';

export const TEXT_BYTES_MAX = 256;
const DN_LENGTH_MAX = 1024;
const NAMES_MAX = 12;
const MAILS_MAX = 4;

/** Somebody who cannot be taken over at all, and why. */
export type RefusedPerson = { refused: string; object: string | null; dn: string };

type PersonConfig = Pick<DirectoryConfig, 'type' | 'domains' | 'attributes' | 'defaultCountry'>;

// What says that an account is disabled, by the kind of directory.
const DISABLED_ATTRIBUTES = {
  'active-directory': ['userAccountControl'],
  ldap: ['pwdAccountLockedTime', 'nsAccountLock', 'loginDisabled'],
} as const;

/** The attributes that {@link readPerson} looks at: no others need be asked for. */
export function personAttributes(config: Pick<PersonConfig, 'type' | 'attributes'>): string[] {
  const { uniqueIdType: _type, usernames, phones, ...others } = config.attributes;
  const all = [...Object.values(others), ...usernames, ...Object.values(phones)];
  const named = [...all, ...DISABLED_ATTRIBUTES[config.type]].filter((name) => name !== null);
  return [...new Map(named.map((name) => [name.toLowerCase(), name])).values()];
}

/**
 * An entry as the person it is, or why it is none. Never throws, whatever the values. Of several
 * values the least usable one counts, because directories give them in any order. What cannot be
 * used (empty of meaning, more than 256 bytes, control or invisible characters, no text) is left
 * out and told in `dropped`, once an attribute.
 */
export function readPerson(entry: Entry, config: PersonConfig): Person | RefusedPerson {
  const { attributes } = config;
  const object = readObject(entry, attributes);
  const shownDn = escapeUnsafe(entry.dn.slice(0, DN_LENGTH_MAX));
  const refuse = (why: string) => ({ refused: why, object, dn: shownDn });
  if (object === null) return refuse(`has no ${attributes.uniqueId} that can be used`);
  if (entry.dn.length > DN_LENGTH_MAX) return refuse('has a DN of more than 1,024 characters');
  if (!isPlain(entry.dn)) return refuse('has a DN with control or invisible characters');
  const key = findDnKey(entry.dn);
  if (key === null || key === '') return refuse('has a DN that cannot be read');
  const isDisabled = readDisabled(entry, config.type);
  if (isDisabled === null) return refuse('has no userAccountControl that can be read');

  const dropped: Person['dropped'] = [];
  const read = (attribute: string | null) => {
    if (attribute === null) return null;
    const [text, why] = readText(entry, attribute);
    if (why !== null && !dropped.some((one) => one.attribute === attribute)) {
      dropped.push({ attribute, why });
    }
    return text;
  };

  const named = attributes.usernames.map((attribute) => ({ attribute, name: read(attribute) }));
  const own = named.flatMap(({ name }) => name ?? []);
  const shortName = read(attributes.shortName);
  const first = own[0] ?? null;
  if (first === null) return refuse(`has no ${attributes.usernames.join(' or ')} that can be used`);
  const isMail = (attribute: string) => attribute.toLowerCase() === attributes.mail?.toLowerCase();
  const lasting = named.flatMap(({ attribute, name }) => (isMail(attribute) ? [] : (name ?? [])));

  const { windows, dns } = qualify(shortName ?? first, config.domains);
  const lastResort = [...dns, ...windows];

  return {
    object,
    dn: entry.dn,
    dnKey: key,
    usernames: distinct([...own, ...lastResort.slice(0, 1)]),
    names: collectNames({ short: shortName, lasting, dn: entry.dn, domains: config.domains }),
    mails: readMails(entry, attributes.mail, read),
    firstName: read(attributes.firstName),
    lastName: read(attributes.lastName),
    displayName: read(attributes.displayName),
    description: read(attributes.description),
    group: read(attributes.group),
    language: readLanguage(read, attributes.language, dropped),
    phones: readPhones(read, config, dropped),
    isDisabled,
    dropped,
  };
}

/** The unique id of an entry in the form of {@link Person.object}; null: none that can be used. */
export function readObject(
  entry: Entry,
  attributes: Pick<AttributeMap, 'uniqueId' | 'uniqueIdType'>,
): string | null {
  const values = entry.values.get(attributes.uniqueId.toLowerCase()) ?? [];
  const [value] = values;
  // Of two unique ids neither is one.
  if (!value || values.length !== 1) return null;
  if (attributes.uniqueIdType === 'guid') return guidText(value);
  const text = value.length <= 64 ? value.toString('utf8').toLowerCase() : '';
  return /^[0-9a-z-]{1,64}$/.test(text) ? text : null;
}

/** 16 bytes of an objectGUID (MS-DTYP 2.3.4.2: three numbers little-endian, then bytes) as a UUID. */
export function guidText(bytes: Buffer): string | null {
  if (bytes.length !== 16) return null;
  const hex = Buffer.from(bytes);
  hex.subarray(0, 4).reverse();
  hex.subarray(4, 6).reverse();
  hex.subarray(6, 8).reverse();
  return hex.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** A UUID as the 16 bytes that an objectGUID is searched by; null: not a UUID. */
export function guidBytes(text: string): Buffer | null {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return null;
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex');
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}

function readText(entry: Entry, attribute: string): [string | null, string | null] {
  let least: string | null = null;
  let why: string | null = null;
  for (const value of entry.values.get(attribute.toLowerCase()) ?? []) {
    const text = textOf(value);
    if (typeof text !== 'string') why ??= text.why;
    else if (text !== '' && (least === null || text < least)) least = text;
  }
  return [least, least === null ? why : null];
}

function textOf(value: Buffer): string | { why: string } {
  // 100 kB of anything are not looked at.
  if (value.length > TEXT_BYTES_MAX) return { why: 'has more than 256 bytes' };
  const text = value.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(value)) return { why: 'is not text' };
  const trimmed = text.trim().normalize('NFC');
  if (!isPlain(trimmed)) return { why: 'has control or invisible characters' };
  if (Buffer.byteLength(trimmed, 'utf8') > TEXT_BYTES_MAX)
    return { why: 'has more than 256 bytes' };
  return trimmed;
}

function collectNames(of: {
  short: string | null;
  lasting: string[];
  dn: string;
  domains: readonly string[];
}): string[] {
  const short = of.short === null ? [] : [of.short];
  const dn = Buffer.byteLength(of.dn, 'utf8') <= TEXT_BYTES_MAX ? [of.dn] : [];
  const { windows, dns } = qualify(of.short, of.domains);
  // The domains' forms stand before the principal name, but never push it or the DN out.
  const room = NAMES_MAX - distinct([...short, ...of.lasting, ...dn]).length;
  const qualified = distinct([...windows, ...dns]).slice(0, room);
  return distinct([...short, ...qualified, ...of.lasting, ...dn]);
}

/** DOMAIN\short for the domains of Windows (NetBIOS: 15 characters), short@domain for the others. */
function qualify(short: string | null, domains: readonly string[]) {
  if (short === null || /[@\\]/.test(short)) return { windows: [], dns: [] };
  const fits = (name: string) => Buffer.byteLength(name, 'utf8') <= TEXT_BYTES_MAX;
  const windows = domains.filter((domain) => /^[^.\\@\s]{1,15}$/.test(domain));
  const dns = domains.filter((domain) => /^[^\\@\s]+\.[^\\@\s]+$/.test(domain));
  return {
    windows: windows.map((domain) => `${domain}\\${short}`).filter(fits),
    dns: dns.map((domain) => `${short}@${domain}`).filter(fits),
  };
}

function readMails(
  entry: Entry,
  attribute: string | null,
  read: (attribute: string | null) => string | null,
): string[] {
  if (attribute === null || read(attribute) === null) return [];
  const texts = (entry.values.get(attribute.toLowerCase()) ?? []).map(textOf);
  const mails = texts.filter((text) => typeof text === 'string' && /^[^@\s]+@[^@\s]+$/.test(text));
  return distinct((mails as string[]).sort()).slice(0, MAILS_MAX);
}

// RFC 2798 section 2.7: written like the header Accept-Language.
function readLanguage(
  read: (attribute: string | null) => string | null,
  attribute: string | null,
  dropped: Person['dropped'],
): string | null {
  const written = read(attribute);
  if (attribute === null || written === null) return null;
  const wanted = written.split(',').flatMap((part) => {
    const match =
      /^\s*([A-Za-z]{2})(?:[-_][A-Za-z0-9_-]+)?\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?$/.exec(
        part,
      );
    return match?.[1] ? [{ language: match[1].toLowerCase(), weight: Number(match[2] ?? 1) }] : [];
  });
  const best = wanted.filter(({ weight }) => weight > 0).sort((a, b) => b.weight - a.weight)[0];
  if (!best) dropped.push({ attribute, why: 'is not a language of two letters' });
  return best?.language ?? null;
}

function readPhones(
  read: (attribute: string | null) => string | null,
  { attributes, defaultCountry }: PersonConfig,
  dropped: Person['dropped'],
): Person['phones'] {
  const phones: Person['phones'] = {};
  const extension = read(attributes.extension);
  for (const [kind, attribute] of Object.entries(attributes.phones)) {
    const written = read(attribute);
    if (attribute === null || written === null) continue;
    const phone = readPhone(written, { defaultCountry, extension });
    if ('why' in phone) dropped.push({ attribute, why: phone.why });
    else phones[kind as PhoneKind] = phone;
  }
  return phones;
}

function readDisabled(entry: Entry, type: DirectoryConfig['type']): boolean | null {
  const first = (name: string) =>
    entry.values.get(name.toLowerCase())?.[0]?.subarray(0, 32).toString('latin1');
  if (type === 'active-directory') {
    const flags = first('userAccountControl') ?? '';
    // ACCOUNTDISABLE, MS-ADTS 2.2.16. Who cannot be judged is not taken for enabled.
    return /^-?\d{1,10}$/.test(flags) ? (Number(flags) & 2) !== 0 : null;
  }
  return (
    // Locked by hand until unlocked by hand: draft-behera-ldap-password-policy section 5.3.3.
    /^000001010000(00)?Z$/.test(first('pwdAccountLockedTime') ?? '') ||
    /^true$/i.test(first('nsAccountLock') ?? '') ||
    /^true$/i.test(first('loginDisabled') ?? '')
  );
}

// Control, format (bidi, zero-width), line and paragraph separators, lone surrogates, and the
// character that stands for bytes which were no text.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\ufffd]/u;

function isPlain(text: string): boolean {
  return text.trim() === text && !UNSAFE.test(text);
}

function escapeUnsafe(text: string): string {
  return text.replace(
    new RegExp(UNSAFE.source, 'gu'),
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

/** The first of those that differ in nothing but the case of their letters. */
function distinct(names: string[]): string[] {
  const seen = new Set<string>();
  return names.filter((name) => {
    const folded = name.toLowerCase();
    return !seen.has(folded) && seen.add(folded);
  });
}
