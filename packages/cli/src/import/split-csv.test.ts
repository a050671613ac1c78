import { describe, expect, it } from 'vitest';
import { splitCsv } from './split-csv.ts';

describe('a CSV file that is too long for one request', () => {
  it('is cut between records, each part with the header and the lines before it', () => {
    const text = '\uFEFFa,b\r\n1,x\r\n2,"y\r\nz ""q"""\r\n3,x\r\n\r\n4,x';
    const parts = splitCsv(text, 2);
    expect(parts).toEqual([
      { text: 'a,b\r\n1,x\r\n2,"y\r\nz ""q"""\r\n', linesBefore: 0, records: 2 },
      { text: 'a,b\r\n3,x\r\n\r\n', linesBefore: 3, records: 2 },
      { text: 'a,b\r\n4,x', linesBefore: 5, records: 1 },
    ]);
    // The last record stands on line 7 of the file, and on line 2 of its part.
    expect(text.split('\n')[6]).toBe('4,x');
  });

  it('is cut by size too, and a record that no part can hold is refused', () => {
    const long = 'x'.repeat(150 * 1024);
    expect(splitCsv(`h\n${long}\n${long}\n${long}\n`, 200).map(({ records }) => records)).toEqual([
      2, 1,
    ]);
    expect(() => splitCsv(`h\n1\n${long}${long}${long}`, 200)).toThrow(/line 3: .* too long/);
  });

  it('is one part where there is nothing to cut', () => {
    expect(splitCsv('', 2)).toEqual([{ text: '', linesBefore: 0, records: 0 }]);
    expect(splitCsv('a,b', 2)).toEqual([{ text: 'a,b', linesBefore: 0, records: 0 }]);
    expect(splitCsv('a,b\n"1', 2)).toEqual([{ text: 'a,b\n"1', linesBefore: 0, records: 1 }]);
  });
});
