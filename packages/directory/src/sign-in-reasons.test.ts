import { expect, it } from 'vitest';
import { readBindAnswer } from './sign-in-reasons.ts';

const windows = (data: string) => ({
  code: 49,
  text: `80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data ${data}, v4563`,
});

it.each([
  ['52e', 'wrong_password'],
  ['525', 'unknown_name'],
  ['530', 'not_now'],
  ['531', 'not_now'],
  ['532', 'password_expired'],
  ['533', 'account_disabled'],
  ['701', 'account_expired'],
  ['773', 'must_change_password'],
  ['775', 'account_locked'],
  ['0', 'wrong_password'],
])('reads what Active Directory says by data %s', (data, reason) => {
  expect(readBindAnswer(windows(data), undefined)).toBe(reason);
});

it('lets in by result 0 alone, unless the policy wants another password first', () => {
  const text = '';
  expect(readBindAnswer({ code: 0, text }, undefined)).toBeNull();
  expect(readBindAnswer({ code: 0, text }, 2)).toBe('must_change_password');
  expect(readBindAnswer({ code: 49, text }, 1)).toBe('account_locked');
  expect(readBindAnswer({ code: 49, text }, 0)).toBe('password_expired');
  for (let code = 1; code < 256; code += 1) {
    expect(readBindAnswer({ code, text }, undefined)).not.toBeNull();
  }
  // A referral, a bind that goes on, busy, unavailable: no word on the person.
  for (const code of [1, 10, 14, 51, 52, 80]) {
    expect(readBindAnswer({ code, text }, undefined)).toBeUndefined();
  }
});
