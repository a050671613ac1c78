import { expect, it } from 'vitest';

import { checkPhoneNumber, type PhonePolicy } from './check-phone-number.ts';

const policy: PhonePolicy = { defaultCountry: 'NL', allowedCountries: ['NL', 'GB', 'US'] };

const check = (written: string, use: 'text' | 'call' = 'text', of = policy) => {
  const result = checkPhoneNumber(written, of, use);
  return result.ok ? result.number : result.reason;
};

it('a number is brought into one form however it was written', () => {
  for (const written of [
    '0612345678',
    '06-12345678',
    '06 1234 5678',
    '+31 6 12345678',
    '+31 (0)6 12345678',
    '0031612345678',
    ' (06) 12.34.56.78 ',
    '06\u00a012345678',
  ]) {
    expect([written, check(written)]).toEqual([written, '+31612345678']);
  }
  expect(checkPhoneNumber('020 624 1111', policy, 'call')).toEqual({
    ok: true,
    number: '+31206241111',
    country: 'NL',
  });
  expect(check('07400 123456', 'text', { ...policy, defaultCountry: 'GB' })).toBe('+447400123456');
});

it('premium, shared-cost and personal numbers are refused, whatever the countries', () => {
  for (const written of [
    '0900 1234567',
    '0906 1234567',
    '+44 9098790123',
    '+44 8433123456',
    '+44 7012345678',
    '+1 900 234 5678',
  ]) {
    expect([written, check(written, 'call')]).toEqual([written, 'premium']);
  }
});

it('numbers of other countries and of no country are refused', () => {
  expect(check('+4915123456789')).toBe('country_not_allowed');
  // Shares +1 with the United States, and a text there costs thirty times as much.
  expect(check('+1 876 210 1234')).toBe('country_not_allowed');
  expect(check('+1 201 555 0123')).toBe('+12015550123');
  for (const written of ['+870 773111632', '+883 510012345', '+881 612345678']) {
    expect([written, check(written)]).toEqual([written, 'country_not_allowed']);
  }
  expect(check('+979 123456789')).toBe('premium');
  expect(check('0612345678', 'text', { ...policy, allowedCountries: [] })).toBe(
    'country_not_allowed',
  );
  expect(check('+12015550123', 'text', { defaultCountry: 'NL' })).toBe('country_not_allowed');
});

it("a company's own number is for calls, a free one for neither", () => {
  expect(check('088 123 4567 x12', 'call')).toBe('+31881234567');
  expect(check('088 123 4567', 'text')).toBe('wrong_type');
  expect(check('0800 1234567', 'call')).toBe('wrong_type');
});

it('what is no number says so', () => {
  for (const written of ['12345', '06123456789', '+31', '++31612345678', '00', '112', '1-1']) {
    expect([written, check(written)]).toEqual([written, 'not_a_number']);
  }
  for (const written of [
    '',
    'alice',
    '0612345678; rm -rf',
    'tel:+31612345678;phone-context=+1900',
    '0612345678\r\nTo: +1900',
    '\u202e0612345678',
    '０６１２３４５６７８',
    '0'.repeat(65),
    '1'.repeat(1_000_000),
  ]) {
    expect([written.slice(0, 40), check(written)]).toEqual([written.slice(0, 40), 'malformed']);
  }
});

it('an extension is for calls only', () => {
  for (const written of ['020 6241111 x890', '020 6241111 ext. 890']) {
    expect(checkPhoneNumber(written, policy, 'call')).toMatchObject({
      number: '+31206241111',
      extension: '890',
    });
    expect(check(written, 'text')).toBe('extension_not_allowed');
  }
});
