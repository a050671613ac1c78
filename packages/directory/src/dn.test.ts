import { escapeDnValue } from '@countersign/testing';
import { describe, expect, it } from 'vitest';

import { dnKey, InvalidDnError, isUnder } from './dn.ts';

describe('the key of a DN', () => {
  it.each([
    [
      'CN=Smith\\, John,OU=Staff,DC=corp,DC=test',
      'cn=smith\\2c john,ou=staff,dc=CORP,dc=Test',
      ' CN = Smith\\2C John , OU=Staff,DC=corp , DC=test ',
      'CN=#0c0b536d6974682c204a6f686e,ou=staff,dc=corp,dc=test',
      'CN=\\53mith\\,  John,2.5.4.11=Staff,domainComponent=corp,OID.0.9.2342.19200300.100.1.25=test',
    ],
    ['cn=a+sn=b,dc=x', 'SN=b+CN=a,dc=x', 'cn = a + sn = B , dc=x'],
    ['CN=José,DC=x', 'CN=Jose\u0301,DC=x', 'CN=JOS\\C3\\89,DC=x', 'cn=jos\\c3\\a9,dc=x'],
    ['CN=\\ a\\ ,DC=x', 'CN=a,DC=x'],
    ['CN=a\\0ADEL:1,DC=x', 'cn=a\\0adel:1,dc=X'],
    ['cn=a=b,dc=x', 'cn=a\\=b,dc=x', 'cn=a\\3db,dc=x'],
    ['cn=,dc=x', 'cn= ,dc=x'],
    ['CN=\\#1\\+2\\;3\\<4\\>5\\"6\\\\7,DC=x', 'CN=\\231\\2b2\\3b3\\3c4\\3e5\\226\\5c7,DC=x'],
  ])('is one for all spellings of %s', (...spellings) => {
    expect(new Set(spellings.map(dnKey))).toHaveLength(1);
  });

  it('tells names apart that only look alike', () => {
    const names = [
      'cn=a,dc=x',
      'cn=a\\,dc=x',
      'cn=a\\,dc\\=x,dc=x',
      'cn=a+dc=x',
      'cn=a\\+dc\\=x',
      'cn=a,dc=x,dc=x',
      'uid=a,dc=x',
      'cn=\\#61,dc=x',
      'cn=#0401ff,dc=x',
      'cn=#300161,dc=x',
      'cn=\\ff,dc=x',
      'cn=\\fe,dc=x',
      'cn=a\\5c2cdc=x',
      'cn=á,dc=x',
    ];
    const keys = names.map(dnKey);
    // The one hex string of a byte that is no text is the same name as its escape.
    expect(keys[8]).toBe(dnKey('cn=\\ff,dc=x'));
    expect(new Set(keys)).toHaveLength(names.length - 1);
  });

  it.each([
    'alice',
    'cn=a,',
    ',cn=a',
    'cn=a,,dc=x',
    'cn=a+',
    'cn=a\\',
    'cn=a\\zz',
    'cn=a\\4',
    'cn="a",dc=x',
    'cn=a;dc=x',
    'cn=a<b',
    'cn=#xyz',
    'cn=#0',
    'cn=#0401zz',
    '=a',
    '<GUID=00112233445566778899aabbccddeeff>',
    'cn=a\0b',
    `cn=${'a'.repeat(5000)}`,
    Array.from({ length: 200 }, () => 'dc=a').join(','),
  ])('is refused for what is no DN: %s', (text) => {
    expect(() => dnKey(text)).toThrow(InvalidDnError);
  });

  it('does not depend on how values are escaped, whatever is in them', () => {
    const alphabet = Array.from('aB1 ,+="\\#;<>éßİ\u0301漢😀\n\u00a0.-*()');
    let seed = 42;
    const next = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((seed / 2_147_483_648) * below);
    };
    const keys = new Map<string, string>();
    for (let round = 0; round < 3000; round++) {
      const value = Array.from({ length: next(7) }, () => alphabet[next(alphabet.length)]).join('');
      const inHex = [...Buffer.from(value)]
        .map((byte) => `\\${byte.toString(16).padStart(2, '0')}`)
        .join('');
      const key = dnKey(`CN=${escapeDnValue(value)},OU=Staff,DC=x`);
      expect([value, dnKey(`cn=${inHex},ou=staff,dc=X`)]).toEqual([value, key]);
      expect([value, isUnder(key, dnKey('ou=STAFF,dc=x'))]).toEqual([value, true]);
      const folded = value
        .normalize('NFC')
        .toLowerCase()
        .normalize('NFC')
        .replace(/\s+/gu, ' ')
        .trim();
      const before = keys.get(key);
      expect([key, before ?? folded]).toEqual([key, folded]);
      keys.set(key, folded);
    }
    expect(new Set(keys.values())).toHaveLength(keys.size);
  });

  it('takes no longer for a hostile DN than for a long one', () => {
    const hostile = ['cn=' + '\\20'.repeat(1300), ' '.repeat(4090), `cn${' '.repeat(4000)}`];
    const tookMs: number[] = [];
    for (let count = 0; count < 3; count += 1) {
      const started = performance.now();
      for (const text of hostile) {
        try {
          dnKey(text);
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidDnError);
        }
      }
      tookMs.push(performance.now() - started);
    }
    expect(Math.min(...tookMs)).toBeLessThan(500);
  });
});

it('a container has itself and what is below it, and nothing that only ends alike', () => {
  const container = dnKey('OU=Staff,DC=corp,DC=test');
  for (const dn of [
    'ou=staff,dc=corp,dc=test',
    'cn=a,OU=Staff,DC=corp,DC=test',
    'cn=a,ou=b,ou=staff,dc=corp,dc=test',
  ]) {
    expect([dn, isUnder(dnKey(dn), container)]).toEqual([dn, true]);
  }
  for (const dn of [
    'dc=corp,dc=test',
    'cn=a\\,ou\\=staff\\,dc\\=corp\\,dc\\=test',
    'cn=x+ou=Staff,dc=corp,dc=test',
    'cn=a,ou=other staff,dc=corp,dc=test',
    'cn=a,ou=staff,dc=corp,dc=test,dc=evil',
  ]) {
    expect([dn, isUnder(dnKey(dn), container)]).toEqual([dn, false]);
  }
  expect(isUnder(dnKey('cn=a'), dnKey(''))).toBe(true);
});
