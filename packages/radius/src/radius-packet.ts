import { microsoft, readVendorValue, splitVendorValue } from './vendor-attributes.ts';

export const packetCodes = {
  accessRequest: 1,
  accessAccept: 2,
  accessReject: 3,
  accountingRequest: 4,
  accountingResponse: 5,
  accessChallenge: 11,
  statusServer: 12,
  disconnectRequest: 40,
  changeOfAuthorizationRequest: 43,
} as const;

/** RFC 2865 §3. */
export const headerBytes = 20;
export const largestPacketBytes = 4096;
/** One octet holds type, length and value. */
export const largestValueBytes = 253;
/** As FreeRADIUS: 4096 bytes would hold 2,038 empty ones, in attributes of Microsoft nearly as many. */
export const mostAttributes = 200;

/** A type-length-value of a packet; a vendor's lie in type 26 (vendor-attributes.ts). */
export interface Attribute {
  readonly type: number;
  readonly value: Buffer;
}

export interface Packet {
  readonly code: number;
  readonly identifier: number;
  readonly authenticator: Buffer;
  readonly attributes: readonly Attribute[];
  /** The packet as it came, without what may follow its stated length. */
  readonly bytes: Buffer;
}

export type Malformation =
  | 'too_short'
  | 'too_long'
  | 'wrong_length'
  | 'broken_attribute'
  | 'too_many_attributes'
  | 'broken_vendor_attribute';

export type Decoded = { packet: Packet } | { malformation: Malformation };

export class RadiusError extends Error {
  override readonly name = 'RadiusError';
}

/**
 * Reads one datagram; it never throws. What follows the stated length is padding (RFC 2865 §3).
 * Attributes of Microsoft must be whole; those of others may have any form inside (RFC 2865
 * §5.26) and are bytes. Values share the memory of `datagram`.
 */
export function decodePacket(datagram: Buffer): Decoded {
  if (datagram.length < headerBytes) return { malformation: 'too_short' };
  if (datagram.length > largestPacketBytes) return { malformation: 'too_long' };
  const length = datagram.readUInt16BE(2);
  if (length < headerBytes || length > datagram.length) return { malformation: 'wrong_length' };
  const bytes = datagram.subarray(0, length);
  const attributes: Attribute[] = [];
  let count = 0;
  for (let at = headerBytes; at < length;) {
    const size = bytes[at + 1] ?? 0;
    if (size < 2 || at + size > length) return { malformation: 'broken_attribute' };
    const attribute = { type: bytes[at] ?? 0, value: bytes.subarray(at + 2, at + size) };
    const held = countHeld(attribute);
    if (held === null) return { malformation: 'broken_vendor_attribute' };
    count += held;
    if (count > mostAttributes) return { malformation: 'too_many_attributes' };
    attributes.push(attribute);
    at += size;
  }
  const [code = 0, identifier = 0] = bytes;
  const authenticator = bytes.subarray(4, headerBytes);
  return { packet: { code, identifier, authenticator, attributes, bytes } };
}

/**
 * The bytes of a packet, with the authenticator as given (16 bytes).
 * Throws RadiusError when it does not fit into 4096 bytes or a value not into 253.
 */
export function encodePacket(packet: Omit<Packet, 'bytes'>): Buffer {
  const { code, identifier, authenticator, attributes } = packet;
  if (authenticator.length !== 16) throw new RadiusError('an authenticator has 16 bytes');
  if (attributes.length > mostAttributes) {
    throw new RadiusError(`${attributes.length} attributes, at most ${mostAttributes} fit`);
  }
  let length = headerBytes;
  for (const { type, value } of attributes) {
    if (value.length > largestValueBytes) {
      throw new RadiusError(`attribute ${type} has ${value.length} bytes, at most 253 fit`);
    }
    length += value.length + 2;
  }
  if (length > largestPacketBytes) {
    throw new RadiusError(`a packet of ${length} bytes, at most ${largestPacketBytes} may be sent`);
  }
  const bytes = Buffer.alloc(length);
  bytes.writeUInt8(code, 0);
  bytes.writeUInt8(identifier, 1);
  bytes.writeUInt16BE(length, 2);
  authenticator.copy(bytes, 4);
  let at = headerBytes;
  for (const { type, value } of attributes) {
    bytes.writeUInt8(type, at);
    bytes.writeUInt8(value.length + 2, at + 1);
    value.copy(bytes, at + 2);
    at += value.length + 2;
  }
  return bytes;
}

const vendorSpecific = 26;

/** One of Microsoft is as many as it holds: each look-up goes through them. Null: it is broken. */
function countHeld({ type, value }: Attribute): number | null {
  if (type !== vendorSpecific) return 1;
  const read = readVendorValue(value);
  if (!read) return null;
  return read.vendor === microsoft ? (splitVendorValue(read.data)?.length ?? null) : 1;
}
