import { formatAddress, parseAddress } from './ip-address.ts';
import {
  type AttributeName,
  attributeOf,
  findAttributeByName,
  findAttributeByType,
  type NamedAttribute,
} from './dictionary.ts';
import { type Attribute, largestValueBytes, RadiusError } from './radius-packet.ts';
import { makeVendorValue, readVendorValue, splitVendorValue } from './vendor-attributes.ts';

const vendorSpecific = 26;
/** NAS-IPv6-Address, Login-IPv6-Host, Framed-IPv6-Address. */
const ipv6Types: ReadonlySet<number> = new Set([95, 98, 168]);

/** The values of all attributes of this name, in order; a vendor's are looked up in type 26. */
export function findValues(
  attributes: readonly Attribute[],
  name: AttributeName | NamedAttribute,
): Buffer[] {
  const { type, vendor } = typeof name === 'string' ? attributeOf(name) : name;
  if (vendor === undefined) {
    return attributes.filter((attribute) => attribute.type === type).map(({ value }) => value);
  }
  return attributes.flatMap((attribute) => {
    if (attribute.type !== vendorSpecific) return [];
    const read = readVendorValue(attribute.value);
    if (read?.vendor !== vendor) return [];
    const parts = splitVendorValue(read.data) ?? [];
    return parts.filter((part) => part.type === type).map(({ value }) => value);
  });
}

/** The first of them. */
export function findValue(
  attributes: readonly Attribute[],
  name: AttributeName | NamedAttribute,
): Buffer | undefined {
  return findValues(attributes, name)[0];
}

export function findText(
  attributes: readonly Attribute[],
  name: AttributeName | NamedAttribute,
): string | undefined {
  const value = findValue(attributes, name);
  return value && readText(value);
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Text as UTF-8 (RFC 2865 §5); undefined when the bytes are none. */
export function readText(value: Buffer): string | undefined {
  try {
    return strictUtf8.decode(value);
  } catch {
    return undefined;
  }
}

/** An unsigned 32-bit integer or a time in seconds; undefined unless it has 4 bytes. */
export function readInteger(value: Buffer): number | undefined {
  return value.length === 4 ? value.readUInt32BE(0) : undefined;
}

/** An IPv4 (4 bytes) or IPv6 address (16 bytes), else undefined. */
export function readAddress(value: Buffer): string | undefined {
  return value.length === 4 || value.length === 16 ? formatAddress(value) : undefined;
}

/**
 * An attribute from what an administrator or the program wrote: text, a number, an address as
 * text, bytes as they are. Throws RadiusError when it does not fit the attribute's kind.
 */
export function makeAttribute(
  name: AttributeName | NamedAttribute,
  value: string | number | Buffer,
): Attribute {
  const entry = typeof name === 'string' ? attributeOf(name) : name;
  const bytes = Buffer.isBuffer(value) ? value : makeValue(entry, value);
  const attribute =
    entry.vendor === undefined
      ? { type: entry.type, value: bytes }
      : {
          type: vendorSpecific,
          value: makeVendorValue(entry.vendor, [{ type: entry.type, value: bytes }]),
        };
  if (attribute.value.length > largestValueBytes) {
    throw new RadiusError(`the value of ${entry.name} is too long: ${bytes.length} bytes`);
  }
  return attribute;
}

/**
 * An attribute as an administrator writes it: its name or `vendor/number`; text, a number or an
 * address; bytes as text or as `0x` and hex digits; a tagged number as `13`, or `1:13` with its
 * tag. Throws RadiusError in one line.
 */
export function parseAttribute(name: string, value: string): Attribute {
  const entry = findAttributeByName(name);
  if (!entry) throw new RadiusError(`no attribute is called ${JSON.stringify(name)}`);
  const isBytes = entry.kind === 'octets' || entry.kind === 'tagged';
  const hex = isBytes ? /^0x((?:[0-9a-f]{2})+)$/i.exec(value)?.[1] : undefined;
  if (entry.kind === 'tagged' && hex !== undefined && hex.length !== 8) {
    throw new RadiusError(`${entry.name} has 4 bytes`);
  }
  return makeAttribute(entry, hex === undefined ? value : Buffer.from(hex, 'hex'));
}

function makeValue({ name, kind, type }: NamedAttribute, value: string | number): Buffer {
  if (kind === 'text' || kind === 'octets') return Buffer.from(String(value));
  if (kind === 'address') {
    const family = ipv6Types.has(type) ? 6 : 4;
    const address = parseAddress(value.toString());
    if (address?.length !== (family === 6 ? 16 : 4)) {
      throw new RadiusError(`${name} takes an IPv${family} address`);
    }
    return address;
  }
  if (kind === 'tagged') return makeTagged(name, String(value));
  const number = typeof value === 'number' || /^\d{1,10}$/.test(value) ? Number(value) : NaN;
  if (!Number.isInteger(number) || number < 0 || number > 0xffffffff) {
    throw new RadiusError(`${name} takes a number from 0 to 4294967295`);
  }
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number, 0);
  return bytes;
}

/** RFC 2868 §3.1: tags go from 1 to 31, and 0 is none. */
function makeTagged(name: string, value: string): Buffer {
  const [, tag = '0', number] = /^(?:(\d{1,2}):)?(\d{1,8})$/.exec(value) ?? [];
  if (number === undefined || Number(tag) > 0x1f || Number(number) > 0xff_ff_ff) {
    throw new RadiusError(`${name} takes a number, or tag:number with a tag from 1 to 31`);
  }
  const bytes = Buffer.alloc(4);
  bytes.writeUInt8(Number(tag), 0);
  bytes.writeUIntBE(Number(number), 1, 3);
  return bytes;
}

/**
 * Reply-Message attributes that hold a text of any length, at most `most` of them (RFC 2865
 * §5.18 allows several); no character is cut in two.
 */
export function makeReplyMessages(text: string, most = 4): Attribute[] {
  const pieces: string[] = [];
  let piece = '';
  let size = 0;
  for (const character of text) {
    const bytes = Buffer.byteLength(character);
    if (size + bytes > largestValueBytes) {
      pieces.push(piece);
      [piece, size] = ['', 0];
    }
    piece += character;
    size += bytes;
  }
  if (piece) pieces.push(piece);
  return pieces.slice(0, most).map((part) => makeAttribute('Reply-Message', part));
}

/** Name and value of an attribute for people; control characters are escaped, secrets are stars. */
export interface ShownAttribute {
  name: string;
  value: string;
}

/** What `radius watch` may show of a packet. */
export function showAttributes(attributes: readonly Attribute[]): ShownAttribute[] {
  return attributes.flatMap(({ type, value }) => {
    const read = type === vendorSpecific ? readVendorValue(value) : null;
    const parts = read && splitVendorValue(read.data);
    if (!read) return [showOne(findAttributeByType(type), String(type), value)];
    if (!parts) return [{ name: `${read.vendor}`, value: '***' }];
    return parts.map((part) =>
      showOne(
        findAttributeByType(part.type, read.vendor),
        `${read.vendor}/${part.type}`,
        part.value,
      ),
    );
  });
}

// What has no name may hold a password as well as anything.
function showOne(entry: NamedAttribute | undefined, number: string, value: Buffer): ShownAttribute {
  if (!entry || entry.isSecret) return { name: entry?.name ?? number, value: '***' };
  return { name: entry.name, value: showValue(entry.kind, value) };
}

function showValue(kind: NamedAttribute['kind'], value: Buffer): string {
  const text = kind === 'text' ? readText(value) : undefined;
  if (text !== undefined) return escapeText(text);
  const read = kind === 'integer' || kind === 'tagged' ? readInteger(value) : undefined;
  if (read !== undefined) return kind === 'tagged' ? showTagged(value) : String(read);
  const address = kind === 'address' ? readAddress(value) : undefined;
  return address ?? `0x${value.toString('hex')}`;
}

function showTagged(value: Buffer): string {
  const [tag, number] = [value.readUInt8(0), value.readUIntBE(1, 3)];
  return tag === 0 ? String(number) : `${tag}:${number}`;
}

// Rule 28: control, format (bidirectional) and line separator characters.
function escapeText(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}]/gu, (character) => {
    return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
}
