import { describe, expect, it } from 'vitest';

import { findText, findValue, readAddress, readInteger } from './attribute-values.ts';
import {
  type Attribute,
  decodePacket,
  encodePacket,
  mostAttributes,
  type Packet,
} from './radius-packet.ts';
import { rfcPackets } from './testing/rfc-packets.ts';
import { makeVendorValue } from './vendor-attributes.ts';

describe('decodePacket', () => {
  it('reads the request of RFC 2865 §7.1', () => {
    const packet = decode(rfcPackets.telnet.request);
    expect([packet.code, packet.identifier]).toEqual([1, 0]);
    expect(packet.authenticator.toString('hex')).toBe('0f403f9473978057bd83d5cb98f4227a');
    expect(findText(packet.attributes, 'User-Name')).toBe('nemo');
    expect(read('NAS-IP-Address', readAddress, packet)).toBe('192.168.1.16');
    expect(read('NAS-Port', readInteger, packet)).toBe(3);
  });

  it.each(Object.entries(rfcPackets).filter(([name]) => name !== 'brokenAnswer'))(
    'reads the %s of the RFCs and encodes it as the same bytes',
    (_name, pair) => {
      for (const bytes of Object.values(pair)) {
        expect(encodePacket(decode(bytes)).equals(bytes)).toBe(true);
      }
    },
  );

  it('refuses the State of RFC 2865 §7.3 that claims more bytes than are left', () => {
    expect(decodePacket(rfcPackets.brokenAnswer.request)).toEqual({
      malformation: 'broken_attribute',
    });
  });

  it('leaves out what follows the stated length', () => {
    const padded = Buffer.concat([rfcPackets.status.reply, Buffer.alloc(9, 1)]);
    expect(decode(padded).bytes.equals(rfcPackets.status.reply)).toBe(true);
  });

  it.each([
    ['19 bytes', Buffer.alloc(19), 'too_short'],
    ['4,097 bytes', withLength(Buffer.alloc(4_097), 4_096), 'too_long'],
    ['a stated length of 19', withLength(Buffer.alloc(20), 19), 'wrong_length'],
    ['a stated length beyond the end', withLength(Buffer.alloc(20), 21), 'wrong_length'],
    ['an attribute of length 0', attributesOf('0100'), 'broken_attribute'],
    ['an attribute of length 1', attributesOf('0101'), 'broken_attribute'],
    ['a single byte at the end', attributesOf('01034101'), 'broken_attribute'],
    ['an attribute beyond the end', attributesOf('010441'), 'broken_attribute'],
    ['a vendor attribute without data', attributesOf('1a0600000137'), 'broken_vendor_attribute'],
    ['a vendor attribute of 2 bytes', attributesOf('1a04ffff'), 'broken_vendor_attribute'],
    ['a part of length 0', attributesOf('1a08000001370100'), 'broken_vendor_attribute'],
    ['a part beyond the end', attributesOf('1a0900000137010441'), 'broken_vendor_attribute'],
    ['a byte behind the parts', attributesOf('1a0a0000013701034101'), 'broken_vendor_attribute'],
    ['201 attributes', attributesOf('0102'.repeat(201)), 'too_many_attributes'],
  ])('refuses %s', (_what, bytes, malformation) => {
    expect(decodePacket(bytes)).toEqual({ malformation });
  });

  it('takes as many attributes as the bound allows', () => {
    expect(decode(attributesOf('0102'.repeat(mostAttributes))).attributes).toHaveLength(200);
  });

  it('counts what an attribute of Microsoft holds: 15 of them hold no 1,800', () => {
    const parts = Array.from({ length: 100 }, () => ({ type: 200, value: Buffer.alloc(0) }));
    const holding = (count: number) => ({
      type: 26,
      value: makeVendorValue(311, parts.slice(0, count)),
    });
    const encode = (attributes: Attribute[]) => encodePacket({ ...empty, attributes });
    expect(decode(encode([holding(100), holding(100)])).attributes).toHaveLength(2);
    expect(decodePacket(encode([holding(100), holding(100), holding(1)]))).toEqual({
      malformation: 'too_many_attributes',
    });
  });

  it('takes the attributes of other vendors as bytes, whatever their form', () => {
    const { attributes } = decode(attributesOf('1a0900000009010441'));
    expect(attributes[0]?.value.toString('hex')).toBe('00000009010441');
  });

  it('does not unfold a vendor attribute within a vendor attribute', () => {
    const response = { type: 25, value: Buffer.alloc(50) };
    const inner = makeVendorValue(311, [response]);
    const outer = makeVendorValue(311, [{ type: 26, value: inner }]);
    const bytes = encodePacket({ ...empty, attributes: [{ type: 26, value: outer }] });
    const { attributes } = decode(bytes);
    expect(findValue(attributes, 'MS-CHAP2-Response')).toBeUndefined();
    expect(findValue(attributes, 'MS-CHAP2-Success')?.equals(inner)).toBe(true);
  });
});

describe('encodePacket', () => {
  it('throws for a value of 254 bytes', () => {
    const attributes = [{ type: 24, value: Buffer.alloc(254) }];
    expect(() => encodePacket({ ...empty, attributes })).toThrow('at most 253');
  });

  it('throws for a packet beyond 4,096 bytes, and takes one of just that', () => {
    const full = Array.from({ length: 15 }, () => ({ type: 79, value: Buffer.alloc(253) }));
    const fits = [...full, { type: 79, value: Buffer.alloc(249) }];
    expect(encodePacket({ ...empty, attributes: fits })).toHaveLength(4_096);
    const attributes = [...full, { type: 79, value: Buffer.alloc(250) }];
    expect(() => encodePacket({ ...empty, attributes })).toThrow('at most 4096');
  });
});

const empty = { code: 1, identifier: 0, authenticator: Buffer.alloc(16) };

function decode(bytes: Buffer): Packet {
  const decoded = decodePacket(bytes);
  if ('malformation' in decoded) throw new Error(decoded.malformation);
  return decoded.packet;
}

function read<T>(
  name: 'NAS-IP-Address' | 'NAS-Port',
  by: (value: Buffer) => T,
  { attributes }: Packet,
): T | undefined {
  const value = findValue(attributes, name);
  return value && by(value);
}

function withLength(bytes: Buffer, length: number): Buffer {
  bytes.writeUInt16BE(length, 2);
  return bytes;
}

function attributesOf(hex: string): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(20), Buffer.from(hex, 'hex')]);
  return withLength(bytes, bytes.length);
}
