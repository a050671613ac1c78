/** Longer names are no names of people. */
const DN_LENGTH_MAX = 4096;
const RDNS_MAX = 128;

export class InvalidDnError extends Error {
  override name = 'InvalidDnError';
}

/** One part of a DN: one pair of type and value, or more of them with + between. */
type Rdn = { type: string; value: Buffer }[];

// How servers may write the types of RFC 4514 section 3, and those that people's DNs have besides.
const TYPE_NAMES = new Map([
  ['2.5.4.3', 'cn'],
  ['2.5.4.4', 'sn'],
  ['2.5.4.6', 'c'],
  ['2.5.4.7', 'l'],
  ['2.5.4.8', 'st'],
  ['2.5.4.9', 'street'],
  ['2.5.4.10', 'o'],
  ['2.5.4.11', 'ou'],
  ['0.9.2342.19200300.100.1.1', 'uid'],
  ['0.9.2342.19200300.100.1.25', 'dc'],
  ['1.2.840.113549.1.9.1', 'email'],
  ['commonname', 'cn'],
  ['surname', 'sn'],
  ['countryname', 'c'],
  ['localityname', 'l'],
  ['stateorprovincename', 'st'],
  ['streetaddress', 'street'],
  ['organizationname', 'o'],
  ['organizationalunitname', 'ou'],
  ['userid', 'uid'],
  ['domaincomponent', 'dc'],
]);

/**
 * One text for all spellings of a DN (RFC 4514): case, escapes, hex strings, spaces around the
 * parts and in a row, the order of the pairs of a part. A comma in it only ever stands between two
 * parts. Throws InvalidDnError for what is no DN, or has more than 4,096 characters or 128 parts.
 */
export function dnKey(dn: string): string {
  return parseDn(dn)
    .map((rdn) =>
      rdn
        .map(({ type, value }) => `${type}=${valueKey(value)}`)
        .sort()
        .join('+'),
    )
    .join(',');
}

/** The same, with null for what is no DN. */
export function findDnKey(dn: string): string | null {
  try {
    return dnKey(dn);
  } catch (error) {
    if (error instanceof InvalidDnError) return null;
    throw error;
  }
}

/** Whether a DN is the container itself or stands below it; both are keys of {@link dnKey}. */
export function isUnder(key: string, containerKey: string): boolean {
  return containerKey === '' || key === containerKey || key.endsWith(`,${containerKey}`);
}

function valueKey(value: Buffer): string {
  const text = value.toString('utf8');
  // Bytes that are no text keep themselves apart by the #, which text has escaped.
  if (!Buffer.from(text, 'utf8').equals(value)) return `#${value.toString('hex')}`;
  return text
    .normalize('NFC')
    .toLowerCase()
    .normalize('NFC')
    .replace(/\s+/gu, ' ')
    .trim()
    .replace(/[\\,+=#\p{Cc}]/gu, (character) => `\\${character.codePointAt(0)?.toString(16)} `);
}

function parseDn(dn: string): Rdn[] {
  if (dn.length > DN_LENGTH_MAX) throw new InvalidDnError('a DN of more than 4,096 characters');
  if (dn.trim() === '') return [];
  const rdns: Rdn[] = [];
  let rdn: Rdn = [];
  let at = 0;
  for (;;) {
    const pair = parsePair(dn, at);
    rdn.push(pair);
    const separator = dn[pair.end];
    if (separator !== '+') {
      rdns.push(rdn);
      rdn = [];
    }
    if (separator === undefined) return rdns;
    if (rdns.length >= RDNS_MAX) throw new InvalidDnError('a DN of more than 128 parts');
    at = pair.end + 1;
  }
}

const PAIR_BEGINS = / *([A-Za-z][A-Za-z0-9-]*|(?:OID\.)?\d+(?:\.\d+)+) *= */iy;
const HEX_STRING = /#((?:[0-9A-Fa-f]{2})+) *(?=[,+]|$)/y;
// What may stand for itself; a null, a quote and a semicolon may not (RFC 4514 section 3).
const VALUE_PIECE = /\\([0-9A-Fa-f]{2})|\\([ "#+,;<=>\\])|([^\\"+,;<>\0]+)/y;

function parsePair(dn: string, at: number) {
  PAIR_BEGINS.lastIndex = at;
  const begin = PAIR_BEGINS.exec(dn);
  if (!begin) throw new InvalidDnError('not a DN: a part has no name and =');
  const written = (begin[1] ?? '').toLowerCase().replace(/^oid\./, '');
  const type = TYPE_NAMES.get(written) ?? written;
  const start = PAIR_BEGINS.lastIndex;

  HEX_STRING.lastIndex = start;
  const hex = HEX_STRING.exec(dn);
  if (hex)
    return { type, value: berText(Buffer.from(hex[1] ?? '', 'hex')), end: HEX_STRING.lastIndex };
  if (dn[start] === '#') throw new InvalidDnError('not a DN: # without bytes in hex');

  const pieces: Buffer[] = [];
  let end = start;
  for (;;) {
    VALUE_PIECE.lastIndex = end;
    const piece = VALUE_PIECE.exec(dn);
    if (!piece) break;
    end = VALUE_PIECE.lastIndex;
    if (piece[1] !== undefined) pieces.push(Buffer.from(piece[1], 'hex'));
    else pieces.push(Buffer.from(piece[2] ?? piece[3] ?? '', 'utf8'));
  }
  const separator = dn[end];
  if (separator !== undefined && separator !== ',' && separator !== '+') {
    throw new InvalidDnError('not a DN: a character that must be escaped');
  }
  return { type, value: Buffer.concat(pieces), end };
}

// #0C05616C696365: a string in BER; anything else is compared as the bytes it is.
function berText(bytes: Buffer): Buffer {
  const isString = [0x04, 0x0c, 0x13, 0x16].includes(bytes[0] ?? 0);
  if (isString && (bytes[1] ?? 0x80) < 0x80 && bytes[1] === bytes.length - 2) {
    return bytes.subarray(2);
  }
  return Buffer.concat([Buffer.from([0xff]), bytes]);
}
