import { expect, it } from 'vitest';

import { countSegments } from './count-segments.ts';

const count = (text: string) => {
  const { encoding, segments, units } = countSegments(text);
  return `${encoding} ${units} ${segments}`;
};

it('160 septets are one text, 161 two, and each of several holds 153', () => {
  expect(count('')).toBe('gsm7 0 1');
  expect(count('a'.repeat(160))).toBe('gsm7 160 1');
  expect(count('a'.repeat(161))).toBe('gsm7 161 2');
  expect(count('a'.repeat(306))).toBe('gsm7 306 2');
  expect(count('a'.repeat(307))).toBe('gsm7 307 3');
});

it('the extension table takes two, and no character is split', () => {
  expect(count('€'.repeat(80))).toBe('gsm7 160 1');
  expect(count('€'.repeat(81))).toBe('gsm7 162 2');
  // 152 + a € that does not fit into the 153rd place: it moves on.
  expect(count(`${'a'.repeat(152)}€${'a'.repeat(152)}`)).toBe('gsm7 306 3');
});

it('one character outside the alphabet makes it 70 and 67', () => {
  expect(count(`${'a'.repeat(69)}ç`)).toBe('ucs2 70 1');
  expect(count(`${'a'.repeat(70)}ç`)).toBe('ucs2 71 2');
  expect(count('😀'.repeat(35))).toBe('ucs2 70 1');
  expect(count('😀'.repeat(67))).toBe('ucs2 134 3');
  expect(count('Zoë’s')).toBe('ucs2 5 1');
  expect(count('éàñÄ£@Δ')).toBe('gsm7 7 1');
});
