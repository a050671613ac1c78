import { expect, it } from 'vitest';

import { normalizeAddress } from './ip-address.ts';
import { makeClientMatcher } from './match-client.ts';

it('finds the client with the longest prefix that holds the address', () => {
  const find = makeClientMatcher([
    { addresses: ['0.0.0.0/0'], client: 'all' },
    { addresses: ['10.0.0.0/8', '2001:db8::/32'], client: 'site' },
    { addresses: ['10.1.0.0/16'], client: 'floor' },
    { addresses: ['10.1.2.3', '2001:db8::1'], client: 'vpn' },
    { addresses: ['10.1.2.4/31'], client: 'pair' },
  ]);
  expect(['192.0.2.1', '10.2.0.1', '10.1.9.9', '10.1.2.3', '10.1.2.5'].map(find)).toEqual([
    'all',
    'site',
    'floor',
    'vpn',
    'pair',
  ]);
  expect(['2001:db8::1', '2001:db8:0:0::2', '2001:db9::1'].map(find)).toEqual([
    'vpn',
    'site',
    null,
  ]);
});

it('takes an IPv4-mapped address for the IPv4 address, on both sides', () => {
  const find = makeClientMatcher([
    { addresses: ['10.0.0.0/8'], client: 'v4' },
    { addresses: ['::ffff:192.0.2.0/120'], client: 'mapped' },
    { addresses: ['::/0'], client: 'v6' },
  ]);
  expect(find('::ffff:10.1.2.3')).toBe('v4');
  expect(find('::ffff:a01:203')).toBe('v4');
  expect(find('192.0.2.77')).toBe('mapped');
  expect(find('::10.1.2.3')).toBe('v6');
  expect(find('not an address')).toBeNull();
});

it.each(['10.0.0.1/8', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', 'vpn.example', '::/129', ''])(
  'refuses the network "%s"',
  (text) => {
    expect(() => makeClientMatcher([{ addresses: [text], client: 1 }])).toThrow('network');
  },
);

it('refuses a network that is listed twice', () => {
  const addresses = ['10.0.0.0/8', '::ffff:10.0.0.0/104'];
  expect(() => makeClientMatcher([{ addresses, client: 1 }])).toThrow('twice');
});

it.each([
  ['::FFFF:192.0.2.1', '192.0.2.1'],
  ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['fe80::1%eth0', 'fe80::1'],
  ['::', '::'],
  ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
  ['1:0:3:4:5:6:7:8', '1:0:3:4:5:6:7:8'],
  ['1::', '1::'],
  ['256.1.1.1', null],
])('normalises %s', (address, expected) => {
  expect(normalizeAddress(address)).toBe(expected);
});
