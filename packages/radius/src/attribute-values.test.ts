import { describe, expect, it } from 'vitest';

import {
  findText,
  findValues,
  makeAttribute,
  makeReplyMessages,
  parseAttribute,
  readAddress,
  readInteger,
  readText,
  showAttributes,
} from './attribute-values.ts';
import { findAttributeByName, findAttributeByType } from './dictionary.ts';
import { RadiusError } from './radius-packet.ts';

describe('makeAttribute', () => {
  it.each([
    ['Filter-Id', 'group-ä', '67726f75702dc3a4'],
    ['Session-Timeout', 3600, '00000e10'],
    ['Session-Timeout', '4294967295', 'ffffffff'],
    ['Framed-IP-Address', '192.0.2.7', 'c0000207'],
    ['NAS-IPv6-Address', '2001:db8::7', '20010db8000000000000000000000007'],
  ] as const)('%s from %s', (name, value, hex) => {
    expect(makeAttribute(name, value).value.toString('hex')).toBe(hex);
  });

  it('puts those of Microsoft into a vendor attribute, where they are found again', () => {
    const attribute = makeAttribute('MS-CHAP2-Success', 'S=1');
    expect(attribute.type).toBe(26);
    expect(attribute.value.toString('hex')).toBe('000001371a05533d31');
    expect(findValues([attribute], 'MS-CHAP2-Success').map(String)).toEqual(['S=1']);
    expect(findValues([attribute], 'MS-CHAP-Error')).toEqual([]);
  });

  it.each([
    ['Session-Timeout', '4294967296'],
    ['Session-Timeout', '-1'],
    ['Session-Timeout', '1.5'],
    ['Session-Timeout', 'soon'],
    ['Framed-IP-Address', '2001:db8::7'],
    ['NAS-IPv6-Address', '192.0.2.7'],
    ['NAS-IPv6-Address', '::ffff:192.0.2.7'],
    ['Filter-Id', 'x'.repeat(254)],
    ['MS-CHAP-Error', Buffer.alloc(248)],
  ] as const)('refuses %s %s', (name, value) => {
    expect(() => makeAttribute(name, value)).toThrow(name);
  });
});

it('readers give undefined for bytes of another kind', () => {
  expect(readText(Buffer.from([0xff]))).toBeUndefined();
  expect(readInteger(Buffer.alloc(3))).toBeUndefined();
  expect(readAddress(Buffer.alloc(5))).toBeUndefined();
  expect(findText([], 'User-Name')).toBeUndefined();
});

it('the dictionary finds names in any case and numbers of their vendor only', () => {
  expect(findAttributeByName('filter-id')?.type).toBe(11);
  expect(findAttributeByName('nonsense')).toBeUndefined();
  expect(findAttributeByType(25)?.name).toBe('Class');
  expect(findAttributeByType(25, 311)?.name).toBe('MS-CHAP2-Response');
  expect(findAttributeByType(25, 9)).toBeUndefined();
});

it('a long Reply-Message becomes several of at most 253 bytes, with no character cut', () => {
  const long = `${'a'.repeat(252)}é${'ß'.repeat(200)}`;
  const messages = makeReplyMessages(long);
  expect(messages.map(({ value }) => readText(value)).join('')).toBe(long);
  expect(messages.map(({ value }) => value.length)).toEqual([252, 252, 150]);
  expect(makeReplyMessages('')).toEqual([]);
  expect(makeReplyMessages('x'.repeat(5_000))).toHaveLength(4);
});

it('what is shown of a packet has no secret and no control character', () => {
  const secret = Buffer.from('secret');
  const shown = showAttributes([
    makeAttribute('User-Name', 'al\u001b[31mice\u202e'),
    makeAttribute('NAS-IP-Address', '192.0.2.1'),
    makeAttribute('Session-Timeout', 60),
    parseAttribute('Tunnel-Type', '2:13'),
    { type: 65, value: Buffer.from([1]) },
    makeAttribute('Class', Buffer.from([1, 0xfe])),
    makeAttribute('User-Password', secret),
    makeAttribute('State', secret),
    makeAttribute('MS-CHAP2-Response', secret),
    { type: 200, value: secret },
    { type: 26, value: Buffer.from('00000009ffff', 'hex') },
  ]);
  expect(shown.map(({ name, value }) => `${name} ${value}`)).toEqual([
    'User-Name al\\u{1b}[31mice\\u{202e}',
    'NAS-IP-Address 192.0.2.1',
    'Session-Timeout 60',
    'Tunnel-Type 2:13',
    'Tunnel-Medium-Type 0x01',
    'Class 0x01fe',
    'User-Password ***',
    'State ***',
    'MS-CHAP2-Response ***',
    '200 ***',
    '9 ***',
  ]);
});

describe('an attribute as an administrator writes it', () => {
  it.each([
    ['filter-id', 'vpn', 11, '76706e'],
    ['Class', '0x00fF', 25, '00ff'],
    // Text stays text, and half a byte is none.
    ['Filter-Id', '0x00', 11, '30783030'],
    ['Class', '0x0', 25, '307830'],
    ['9/1', 'a=b', 26, '000000090105613d62'],
    ['9/1', '0x01', 26, '00000009010301'],
    // A number that has a name is that attribute, of its kind.
    ['311/7', '2', 26, '00000137070600000002'],
    // VLANs: without a tag, with one, and as bytes.
    ['Tunnel-Type', '13', 64, '0000000d'],
    ['Tunnel-Medium-Type', '1:6', 65, '01000006'],
    ['Tunnel-Type', '0x0100000d', 64, '0100000d'],
    ['Tunnel-Private-Group-ID', '100', 81, '313030'],
    ['Tunnel-Private-Group-ID', '0x01313030', 81, '01313030'],
  ])('%s=%s', (name, value, type, hex) => {
    const attribute = parseAttribute(name, value);
    expect([attribute.type, attribute.value.toString('hex')]).toEqual([type, hex]);
  });

  it.each([
    ['Shoe-Size', '43'],
    ['0/1', 'x'],
    ['9/0', 'x'],
    ['9/256', 'x'],
    ['16777216/1', 'x'],
    ['9/1/1', 'x'],
    ['9/1', 'x'.repeat(248)],
    ['Tunnel-Type', 'VLAN'],
    ['Tunnel-Type', '32:13'],
    ['Tunnel-Type', '16777216'],
    ['Tunnel-Type', '0x0d'],
  ])('is refused: %s', (name, value) => {
    expect(() => parseAttribute(name, value)).toThrow(RadiusError);
  });
});
