import { describe, expect, it } from 'vitest';
import { escapeUntrusted } from './safe-text.ts';
import { checkUsername, usernameKey } from './username-key.ts';

describe('the key of a username', () => {
  it('is the same for every spelling of one name', () => {
    for (const name of ['alice', 'ALICE', ' Alice\t', '\uff21\uff4cice', 'alice\u00a0']) {
      expect(usernameKey(name)).toBe('alice');
    }
    expect(usernameKey('Jos\u0065\u0301')).toBe(usernameKey('JOS\u00c9'));
  });

  it('is its own key, for every character of the first two planes', () => {
    const unstable: string[] = [];
    for (let point = 0; point <= 0x1ffff; point += 1) {
      const key = usernameKey(String.fromCodePoint(point));
      if (usernameKey(key) !== key) unstable.push(point.toString(16));
    }
    expect(unstable).toEqual([]);
  });
});

describe('a username', () => {
  it('may be what directories hold', () => {
    for (const name of ['alice', 'EXAMPLE\\alice', 'alice@example.com', 'José Ñ', '李雷', 'a']) {
      expect(checkUsername(name)).toBeNull();
    }
  });

  it.each([
    ['nothing', ''],
    ['a line break', 'a\nb'],
    ['an escape character', 'a\u001b[31m'],
    ['a C1 control', 'a\u009b'],
    ['a bidi override', 'a\u202eb'],
    ['a bidi isolate', 'a\u2066b'],
    ['a zero-width space', 'a\u200bb'],
    ['half a surrogate pair', 'a\ud83d'],
    ['spaces around it', ' a'],
    ['more than 256 bytes', 'é'.repeat(129)],
    ['a normal form of more than 256 bytes', '\ufdfa'.repeat(20)],
  ])('is not %s', (_, name) => {
    expect(checkUsername(name)).toEqual(expect.any(String));
  });

  it('has 256 bytes at most, counted in UTF-8', () => {
    expect(checkUsername('a'.repeat(256))).toBeNull();
    expect(checkUsername('é'.repeat(128))).toBeNull();
    expect(checkUsername('a'.repeat(257))).toEqual(expect.any(String));
  });
});

describe('text from outside', () => {
  it('cannot steer a terminal or reverse what is read', () => {
    expect(escapeUntrusted('a\u001b[2J\r\nb\u202ec\u009bd')).toBe(
      'a\\u{1b}[2J\\u{d}\\u{a}b\\u{202e}c\\u{9b}d',
    );
    expect(escapeUntrusted('half \ud83d')).toBe('half \\u{d83d}');
  });

  it('is left alone where it is harmless', () => {
    expect(escapeUntrusted('José 李雷 😀 = + - @')).toBe('José 李雷 😀 = + - @');
  });

  it('is never longer than allowed and never cut inside a character', () => {
    expect(escapeUntrusted('abcdef', 6)).toBe('abcdef');
    expect(escapeUntrusted('abcdefg', 6)).toBe('abcde…');
    expect(escapeUntrusted('abc😀😀', 6)).toBe('abc😀…');
    expect(escapeUntrusted('abcd😀😀', 6)).toBe('abcd…');
    for (let max = 1; max < 40; max += 1) {
      const text = escapeUntrusted('😀\u0000x'.repeat(1000), max);
      expect(text.length).toBeLessThanOrEqual(max);
      expect(text.isWellFormed()).toBe(true);
    }
  });
});
