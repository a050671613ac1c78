import { describe, expect, it } from 'vitest';
import { csvLine } from './csv-line.ts';

describe('a line of CSV', () => {
  it('is no formula wherever a spreadsheet may begin a cell', () => {
    const cells = ['=1+1', '+31', '-2', '@SUM(A1)', 'Smith; =cmd()', 'a, +1', 'a-b', '5 - 3'];
    expect(csvLine(cells)).toBe(
      `"'=1+1","'+31","'-2","'@SUM(A1)","Smith; '=cmd()","a, '+1","a-b","5 - 3"\r\n`,
    );
  });

  it('escapes control, terminal and bidi characters, and quotes', () => {
    expect(csvLine(['a"b', 'x\u001b[31m', 'one\r\n=two', '\u202egpj.exe', ''])).toBe(
      '"a""b","x\\u{1b}[31m","one\\u{d}\\u{a}=two","\\u{202e}gpj.exe",""\r\n',
    );
  });
});
