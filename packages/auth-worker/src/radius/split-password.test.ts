import { describe, expect, it } from 'vitest';
import { splitAnswer, splitPassword } from './split-password.ts';

type Client = Parameters<typeof splitPassword>[1];
const directory: Client = {
  firstFactor: { kind: 'directory', directories: null },
  codeLength: 6,
  commaCode: true,
  appendedCode: false,
};
const appended: Client = { ...directory, commaCode: false, appendedCode: true };
const codeOnly: Client = { ...directory, firstFactor: { kind: 'none' } };
const split = (text: string, client = directory) => splitPassword(Buffer.from(text), client);
const typed = (password: string | null, code: string | null, method: string | null = null) => ({
  kind: 'typed',
  password,
  code,
  method,
});

describe('what is typed into the password field', () => {
  it.each([
    ['a password alone', 'pässwörd', typed('pässwörd', null)],
    ['a code behind the comma', 'secret,123456', typed('secret', '123456')],
    ['only the last comma counts', 'a,b,123456', typed('a,b', '123456')],
    [
      'a code of another length is part of the password',
      'secret,12345',
      typed('secret,12345', null),
    ],
    ['a longer one too', 'secret,1234567', typed('secret,1234567', null)],
    ['letters behind the comma too', 'secret,abcdef', typed('secret,abcdef', null)],
    ['digits of other scripts too', 'secret,١٢٣٤٥٦', typed('secret,١٢٣٤٥٦', null)],
    ['a code behind an earlier comma too', 'x,123456,y', typed('x,123456,y', null)],
    ['a text is asked for by its word', 'secret,text', typed('secret', null, 'text')],
    ['a call too', 'secret,call', typed('secret', null, 'call')],
    ['the app too', 'secret,push', typed('secret', null, 'app')],
    ['no other word', 'secret,Push', typed('secret,Push', null)],
    ['a code right behind the password is part of it', 'secret123456', typed('secret123456', null)],
  ])('%s', (_what, text, expected) => {
    expect(split(text)).toEqual(expected);
  });

  it('is a password with a code right behind it only where the client says so', () => {
    expect(split('secret123456', appended)).toEqual(typed('secret', '123456'));
    expect(split('secret,123456', appended)).toEqual(typed('secret,', '123456'));
    expect(split('secret12345', appended)).toEqual(typed('secret12345', null));
    expect(split('9123456', appended)).toEqual(typed('9', '123456'));
  });

  it('is a code, or what asks for one, where the client has checked the password', () => {
    expect(split('123456', codeOnly)).toEqual(typed(null, '123456'));
    expect(split('secret,123456', codeOnly)).toEqual(typed(null, 'secret,123456'));
    expect(split('text', codeOnly)).toEqual(typed(null, null, 'text'));
    expect(split('', codeOnly)).toEqual(typed(null, null));
  });

  it('is wrong without asking where it is no text, or an empty password', () => {
    expect(splitPassword(Buffer.from([0xff, 0xfe, 0x41]), directory)).toEqual({ kind: 'wrong' });
    expect(split('se\0cret')).toEqual({ kind: 'wrong' });
    expect(split('')).toEqual({ kind: 'wrong' });
    expect(split(',123456')).toEqual({ kind: 'wrong' });
    expect(split('123456', appended)).toEqual({ kind: 'wrong' });
  });
});

describe('an answer', () => {
  const answer = (text: string) => splitAnswer(Buffer.from(text), directory);

  it('is a code, with a PIN where there are digits for one behind it', () => {
    expect(answer('123456')).toEqual({ code: '123456', pin: null });
    expect(answer('12345678')).toEqual({ code: '12345678', pin: null });
    expect(answer('1234568024')).toEqual({ code: '123456', pin: '8024' });
    expect(answer('abcd-efgh-ijkl')).toEqual({ code: 'abcd-efgh-ijkl', pin: null });
    expect(answer('')).toEqual({ code: '', pin: null });
  });

  it('is neither where it is no text', () => {
    expect(splitAnswer(Buffer.from([0xc3]), directory)).toBeNull();
  });
});
