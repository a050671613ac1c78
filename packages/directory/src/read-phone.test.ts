import { expect, it } from 'vitest';

import { readPhone } from './read-phone.ts';

const nl = { defaultCountry: 'NL' };

it.each([
  ['0612345678', '+31612345678', null],
  ['+31 (0)6-12.34.56.78', '+31612345678', null],
  ['tel:+31612345678', '+31612345678', null],
  ['020 624 1111 x890', '+31206241111', '890'],
  ['020 624 1111x890', '+31206241111', '890'],
  ['020 624 1111 ext 890', '+31206241111', '890'],
  ['020 624 1111, ext. 890', '+31206241111', '890'],
  ['020-6241111 EXT.:890', '+31206241111', '890'],
  ['+31206241111;ext=890', '+31206241111', '890'],
  ['+44 20 7946 0018', '+442079460018', null],
])('%s is read in one form', (written, number, extension) => {
  expect(readPhone(written, nl)).toEqual({ number, extension });
});

it('the extension of the attribute counts where the number brings none', () => {
  expect(readPhone('0206241111', { ...nl, extension: '12' })).toMatchObject({ extension: '12' });
  expect(readPhone('0206241111 x3', { ...nl, extension: '12' })).toMatchObject({ extension: '3' });
  expect(readPhone('0206241111', { ...nl, extension: 'room 12' })).toHaveProperty('why');
});

it.each([
  ['0900 1234567', 'premium'],
  ['+44 9098790123', 'premium'],
  ['+44 8433123456', 'premium'],
  ['12345', 'no such'],
  ['4021', 'no such'],
  ['+999 123456789', 'no such'],
  ['call the desk', 'not written'],
  ['sip:alice@corp.test', 'not written'],
  ['0612345678 / 0687654321 or else', 'not written'],
  ['0612345678\r\nTo: +1900', 'not written'],
  ['tel:+31612345678;phone-context=+1900', 'not written'],
  ['٠٦١٢٣٤٥٦٧٨', 'not written'],
  ['', 'not written'],
  ['1'.repeat(100_000), 'not written'],
  [`0612345678${' x'.repeat(50_000)}`, 'not written'],
])('%.40s is no number to call', (written, why) => {
  expect(readPhone(written, nl)).toEqual({ why: expect.stringContaining(why) });
});
