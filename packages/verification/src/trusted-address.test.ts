import { describe, expect, it } from 'vitest';
import { isTrustedAddress, parseAddressRange, plainNetwork } from './trusted-address.ts';

describe('trusted addresses', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.8', '192.0.2.7', false],
    ['192.0.2.0', '192.0.2.0-192.0.2.9', true],
    ['192.0.2.9', '192.0.2.0-192.0.2.9', true],
    ['192.0.2.10', '192.0.2.0-192.0.2.9', false],
    ['192.0.2.5', ' 192.0.2.0 - 192.0.2.9 ', true],
    ['192.0.3.255', '192.0.2.0/23', true],
    ['192.0.4.0', '192.0.2.0/23', false],
    ['203.0.113.1', '0.0.0.0/0', true],
    ['2001:db8::1', '2001:db8::/32', true],
    ['2001:db9::1', '2001:db8::/32', false],
    ['2001:0DB8:0:0::5', '2001:db8::1-2001:db8::9', true],
    ['2001:db8::a', '2001:db8::1-2001:db8::9', false],
    // A family says nothing about the other.
    ['2001:db8::1', '0.0.0.0/0', false],
    ['192.0.2.7', '::/0', false],
  ])('%s within %s: %s', (address, range, expected) => {
    expect(isTrustedAddress(address, [range])).toBe(expected);
  });

  it('are the same in the coat of IPv6, and whichever way it is written (rule 12)', () => {
    for (const coat of ['::ffff:192.0.2.7', '::FFFF:192.0.2.7', '::ffff:c000:207']) {
      expect(isTrustedAddress(coat, ['192.0.2.0/24'])).toBe(true);
      expect(isTrustedAddress(coat, ['198.51.100.0/24'])).toBe(false);
      expect(isTrustedAddress(coat, ['::/0'])).toBe(false);
      expect(isTrustedAddress('192.0.2.7', [coat])).toBe(true);
    }
    expect(isTrustedAddress('192.0.2.8', ['::ffff:192.0.2.7-::ffff:192.0.2.9'])).toBe(true);
  });

  it('are found in any of many ranges, of either family', () => {
    const ranges = ['198.51.100.1', '2001:db8::/64', '192.0.2.10-192.0.2.20'];
    expect(isTrustedAddress('192.0.2.15', ranges)).toBe(true);
    expect(isTrustedAddress('2001:db8::99', ranges)).toBe(true);
    expect(isTrustedAddress('192.0.2.21', ranges)).toBe(false);
  });

  it('are none where the address is not known, or is none', () => {
    const everywhere = ['0.0.0.0/0', '::/0'];
    const none = [
      null,
      '',
      'localhost',
      '192.0.2',
      '192.0.2.7 ',
      '0300.0.2.7',
      'fe80::1%eth0',
      '1',
    ];
    for (const address of none) expect(isTrustedAddress(address, everywhere)).toBe(false);
    expect(isTrustedAddress('192.0.2.7', [])).toBe(false);
  });

  it.each([
    ['nothing', ''],
    ['a name', 'vpn.example.org'],
    ['a range that ends before it begins', '192.0.2.9-192.0.2.1'],
    ['a range over two families', '192.0.2.1-2001:db8::1'],
    ['three ends', '192.0.2.1-192.0.2.2-192.0.2.3'],
    ['an open range', '192.0.2.1-'],
    ['too long a prefix', '192.0.2.0/33'],
    ['too long a prefix of IPv6', '2001:db8::/129'],
    ['an empty prefix', '192.0.2.0/'],
    ['a negative prefix', '192.0.2.0/-1'],
    ['two prefixes', '10.0.0.0/8/8'],
    ['a net mask', '10.0.0.0/255.0.0.0'],
    ['a zone', 'fe80::1%eth0'],
    ['a subnet in the coat of IPv6, which would be another subnet', '::ffff:192.0.2.0/120'],
    ['leading zeros, which some read as octal', '010.0.0.1'],
  ])('are not given by %s', (_, text) => {
    expect(parseAddressRange(text)).toBeNull();
    expect(isTrustedAddress('192.0.2.1', [text])).toBe(false);
  });
});

describe('a network in its one form', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    [' 192.0.2.7/32 ', '192.0.2.7'],
    ['10.0.0.0/08', '10.0.0.0/8'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['::FFFF:C000:207', '192.0.2.7'],
    ['2001:DB8:0:0::7', '2001:db8::7'],
    ['2001:db8:0::/48', '2001:db8::/48'],
    ['2001:db8::7/128', '2001:db8::7'],
    ['64:ff9b::192.0.2.7', '64:ff9b::c000:207'],
    ['::/0', '::/0'],
  ])('%s is %s, which stays so', (text, plain) => {
    expect(plainNetwork(text)).toBe(plain);
    expect(plainNetwork(plain)).toBe(plain);
  });

  it.each([
    ['bits behind the prefix', '192.0.2.7/24'],
    ['bits behind the prefix of IPv6', '2001:db8::1/127'],
    ['a bit just behind the prefix', '128.0.0.0/0'],
    ['a mapped network', '::ffff:10.0.0.0/104'],
    ['a prefix that is too long', '10.0.0.0/33'],
    ['a prefix that is no number', '10.0.0.0/a'],
    ['an empty prefix', '10.0.0.0/'],
    ['two prefixes', '10.0.0.0/8/8'],
    ['a netmask', '10.0.0.0/255.0.0.0'],
    ['a range', '192.0.2.1-192.0.2.9'],
    ['a zone', 'fe80::1%eth0'],
    ['a name', 'vpn.test'],
    ['a short form', '10.1'],
    ['an address in brackets', '[::1]'],
    ['nothing', ''],
  ])('is none: %s', (_, text) => {
    expect(plainNetwork(text)).toBeNull();
  });
});
