import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { deriveSpareCode, newSpareCode, readSpareCode, spareCodeHash } from './spare-codes.ts';

const makeKey = () => ({ keyId: '00000000', key: randomBytes(32) });

describe('a spare code', () => {
  it('follows from its key and all of its parts, and from nothing else', () => {
    const key = makeKey();
    const code = deriveSpareCode(key, 'recovery', 'id', '1');
    expect(code).toMatch(/^(?:[2-9A-HJKMNP-TV-Z]{4}-){3}[2-9A-HJKMNP-TV-Z]{4}$/);
    expect(deriveSpareCode(key, 'recovery', 'id', '1')).toBe(code);
    const others = [
      deriveSpareCode(makeKey(), 'recovery', 'id', '1'),
      deriveSpareCode(key, 'recovery', 'id', '2'),
      deriveSpareCode(key, 'recovery', 'id1', ''),
      deriveSpareCode(key, 'enrolment', 'id', '1'),
      newSpareCode(),
    ];
    expect(new Set([code, ...others]).size).toBe(6);
  });

  it('has each of 30 characters about as often', () => {
    const key = makeKey();
    const codes = Array.from({ length: 3000 }, (_, index) => deriveSpareCode(key, String(index)));
    const counts = Map.groupBy(codes.join('').replaceAll('-', ''), (character) => character);
    expect(counts.size).toBe(30);
    // 1,600 of each are expected, with a standard deviation of 39.
    for (const [, all] of counts) expect(Math.abs(all.length - 1600)).toBeLessThan(6 * 39);
  });

  it('is the same however it is typed, and worth nothing for another user, purpose or key', () => {
    const key = makeKey();
    const code = newSpareCode();
    const hash = spareCodeHash(key, 'recovery', 'alice', code);
    const typed = ` ${code.toLowerCase().replaceAll('-', ' ')} `;
    expect(spareCodeHash(key, 'recovery', 'alice', typed)).toBe(hash);
    const others = [
      spareCodeHash(key, 'enrolment', 'alice', code),
      spareCodeHash(key, 'recovery', 'bob', code),
      spareCodeHash(makeKey(), 'recovery', 'alice', code),
      spareCodeHash(key, 'recovery', 'alice', newSpareCode()),
    ];
    expect(others).not.toContain(hash);
    for (const text of ['', code.slice(1), `${code}2`, code.replace(/./, '0')]) {
      expect(readSpareCode(text)).toBeNull();
    }
  });
});
