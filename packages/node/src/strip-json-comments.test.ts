import { describe, expect, it } from 'vitest';

import { stripJsonComments } from './strip-json-comments.ts';

describe('stripping comments', () => {
  it('removes line and block comments', () => {
    const text = '{ // one\n "a": /* two\n lines */ 1, /**/ "b": 2 } // end';
    expect(JSON.parse(stripJsonComments(text))).toEqual({ a: 1, b: 2 });
  });

  it('leaves what looks like a comment inside a string alone', () => {
    const values = { url: 'http://a/*b*/', quoted: '\\" // "', 'key//': '/*', backslash: '\\' };
    expect(JSON.parse(stripJsonComments(JSON.stringify(values)))).toEqual(values);
  });

  it('keeps every position', () => {
    const text = '{\n  /* ü\r\n */ "a": 1 // x\n}';
    const stripped = stripJsonComments(text);
    expect(stripped.length).toBe(text.length);
    expect(stripped.indexOf('"a"')).toBe(text.indexOf('"a"'));
    expect(stripped.split('\n').length).toBe(text.split('\n').length);
  });

  it('swallows a block comment that never ends', () => {
    expect(stripJsonComments('1 /* 2').trim()).toBe('1');
  });

  it('takes linear time over a long unfinished comment or string', () => {
    const startedAt = performance.now();
    stripJsonComments(`"${'/*'.repeat(200_000)}`);
    stripJsonComments('/*'.repeat(200_000));
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
});
