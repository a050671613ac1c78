import { encodeBase32 } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { TokenFileError, readTokenCsv, refuseToken, writeErrorCsv } from './index.ts';

const HEADER = 'upn,serial number,secret key,time interval,manufacturer,model';
const SECRET = Buffer.from('12345678901234567890');
const BASE32 = encodeBase32(SECRET);
const OTHER = encodeBase32(Buffer.from('another secret of 20'));

const file = (...rows: string[]) => [HEADER, ...rows].join('\n');
const good = (changed: Partial<Record<'upn' | 'serial' | 'secret' | 'interval', string>> = {}) =>
  [
    changed.upn ?? 'alice@example.com',
    changed.serial ?? 'GAKT1',
    changed.secret ?? BASE32,
    changed.interval ?? '30',
    'Contoso',
    'HardwareKey',
  ].join(',');

describe("the predecessor's token file", () => {
  it('becomes TOTP tokens with 6 digits', () => {
    const { tokens, refused } = readTokenCsv(file(good(), `bob,2,${OTHER},60,,`));
    expect(refused).toEqual([]);
    expect(tokens).toEqual([
      {
        at: 2,
        token: {
          type: 'totp',
          username: 'alice@example.com',
          serial: 'GAKT1',
          secret: SECRET,
          algorithm: 'SHA1',
          digits: 6,
          periodSeconds: 30,
          manufacturer: 'Contoso',
          model: 'HardwareKey',
        },
      },
      {
        at: 3,
        token: {
          type: 'totp',
          username: 'bob',
          serial: '2',
          secret: Buffer.from('another secret of 20'),
          algorithm: 'SHA1',
          digits: 6,
          periodSeconds: 60,
        },
      },
    ]);
  });

  it('may come from a spreadsheet: byte order mark, CRLF, quotes, empty rows', () => {
    const text = `\uFEFF${HEADER}\r\n"al ""x"" ice","1",${BASE32},30,"Contoso, Inc","two\nlines"\r\n,,,,,\r\n\r\n`;
    const { tokens, refused } = readTokenCsv(Buffer.from(text));
    expect(tokens).toEqual([]);
    expect(refused.map(({ error }) => error)).toEqual([
      'model has control or invisible characters',
    ]);

    const again = readTokenCsv(Buffer.from(text.replace('two\nlines', 'lines')));
    expect(again.tokens[0]?.token).toMatchObject({
      username: 'al "x" ice',
      manufacturer: 'Contoso, Inc',
      model: 'lines',
    });
  });

  it.each([';', '\t'])(
    'may have its columns in any order, named in any case, parted by %j',
    (by) => {
      const rows = [
        ['Secret_Key', 'TIME INTERVAL', 'SerialNumber', 'Upn'],
        [BASE32, '30', '1', 'alice'],
      ];
      const { tokens } = readTokenCsv(rows.map((row) => row.join(by)).join('\n'));
      expect(tokens[0]?.token).toMatchObject({ username: 'alice', serial: '1', secret: SECRET });
    },
  );

  it('takes secrets in lower case, with spaces and padding, up to 128 characters', () => {
    const long = Buffer.alloc(80, 7);
    const spaced = encodeBase32(long)
      .toLowerCase()
      .replace(/(.{4})/g, '$1 ');
    const padded = `${encodeBase32(Buffer.alloc(16, 9))}======`;
    const { tokens } = readTokenCsv(
      file(good({ secret: spaced }), good({ serial: '2', secret: padded })),
    );
    expect(tokens.map(({ token }) => token.secret)).toEqual([long, Buffer.alloc(16, 9)]);
  });

  it.each([
    ['no user', { upn: '' }, 'upn is missing'],
    ['no serial number', { serial: '' }, 'serial number is missing'],
    ['no secret', { secret: '' }, 'secret key is missing'],
    ['a long name', { upn: 'a'.repeat(257) }, 'a username has at most 256 bytes'],
    [
      'a hidden character',
      { serial: '1\u200b2' },
      'serial number has control or invisible characters',
    ],
    ['an interval of 45', { interval: '45' }, 'time interval is not 30 or 60'],
    [
      'a digit base32 has not',
      { secret: `${BASE32}1` },
      'secret key: not base32: only A-Z and 2-7 are',
    ],
    [
      'a short secret',
      { secret: 'JBSWY3DPEHPK3PXP' },
      'the secret is of no use: a secret has at least 128 bits',
    ],
    ['129 characters', { secret: 'A'.repeat(129) }, 'secret key: base32 text is too long'],
    [
      'a cell of 1,025 bytes',
      { secret: ' '.repeat(100) + 'é'.repeat(513) },
      'a cell has more than 1,024 bytes',
    ],
    ['seven cells', { serial: '1,2' }, 'has 7 cells, the header has 6'],
  ])('gives back a row with %s and reads the others', (_, changed, error) => {
    const { tokens, refused } = readTokenCsv(
      file(good(changed), good({ serial: 'other', secret: OTHER })),
    );
    expect(refused.map((one) => [one.at, one.error])).toEqual([[2, error]]);
    expect(tokens.map(({ at }) => at)).toEqual([3]);
  });

  it('gives back every row that shares a serial number or a secret', () => {
    const { tokens, refused } = readTokenCsv(
      file(
        good({ serial: 'ABC' }),
        good({ serial: 'abc', secret: OTHER }),
        // HMAC cannot tell these two from the first one.
        good({ serial: '3', secret: encodeBase32(Buffer.concat([SECRET, Buffer.alloc(2)])) }),
        good({ serial: '4', secret: encodeBase32(Buffer.alloc(20, 1)) }),
      ),
    );
    expect(tokens.map(({ at }) => at)).toEqual([5]);
    expect(refused.map((one) => [one.at, one.error])).toEqual([
      [2, 'has the same serial number as line 3'],
      [3, 'has the same serial number as line 2'],
      [4, 'has the same secret as line 2'],
    ]);
  });

  it.each([
    ['nothing in it', '', 'the file is empty'],
    ['no header', good(), 'column 1 of the header is none of'],
    ['a column twice', `${HEADER},model`, 'the header has the column model twice'],
    ['no secrets', 'upn,serial number,time interval', 'the header has no column secret key'],
    ['an open quote', file(`"alice,1,${BASE32},30,,`), 'a quote is left open'],
    [
      'an open quote and many rows',
      file('"alice', ...Array(1000).fill(good())),
      'the row is too long',
    ],
    ['a row of commas', `${HEADER}\n${','.repeat(20_000)}`, 'line 2: the row is too long'],
    ['a stray quote', file(`ali"ce,1,${BASE32},30,,`), 'line 2: a quote in the wrong place'],
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x41]), 'the file is not UTF-8 text'],
    ['more than 20 MiB', Buffer.alloc(20 * 1024 ** 2 + 1, 'a'), 'the file is larger than 20 MiB'],
    [
      'more than 100,000 rows',
      `${HEADER}\n${'a\n'.repeat(100_001)}`,
      'the file has more than 100,000 rows',
    ],
  ])('is refused with %s', (_, text, message) => {
    const error = errorOf(() => readTokenCsv(text));
    expect(error).toBeInstanceOf(TokenFileError);
    expect(error.message).toContain(message);
    expect(error.message).not.toContain(BASE32);
  });
});

describe('the file of refused tokens', () => {
  it('has the same columns and what is wrong, and comes back corrected', () => {
    const { refused } = readTokenCsv(
      file(
        `-al@example.com,=1,${BASE32},45,"Contoso, Inc",Key`,
        good({ serial: '2', secret: OTHER }),
      ),
    );
    const text = writeErrorCsv(refused, 'line');
    expect(text).toBe(
      '"upn","serial number","secret key","time interval","manufacturer","model","error"\r\n' +
        '"\'-al@example.com","\'=1","***","45","Contoso, Inc","Key","line 2: time interval is not 30 or 60"\r\n',
    );
    const corrected = readTokenCsv(text.replace('***', BASE32).replace('"45"', '"30"'));
    expect(corrected.refused).toEqual([]);
    expect(corrected.tokens[0]?.token).toMatchObject({
      username: '-al@example.com',
      serial: '=1',
      secret: SECRET,
      manufacturer: 'Contoso, Inc',
    });
  });

  it('holds tokens that were refused for another reason, without their secrets', () => {
    const { tokens } = readTokenCsv(file(good()));
    const text = writeErrorCsv([refuseToken(tokens[0]!, 'unknown user')], 'line');
    expect(text).toContain(
      '"alice@example.com","GAKT1","***","30","Contoso","HardwareKey","line 2: unknown user"',
    );
    expect(text).not.toContain(BASE32);
  });

  it.each(['=', '+', '-', '@', '\t', '\r', '＝', '＠'])(
    'has no cell that a spreadsheet computes: %j',
    (start) => {
      const about = { tokens: [], refused: [] as ReturnType<typeof refuseToken>[] };
      for (const cell of [
        `${start}cmd|'/c calc'!A1`,
        `x;${start}1`,
        `x,"${start}1`,
        `x; '${start}1`,
      ]) {
        about.refused.push({
          at: 1,
          cells: {
            upn: cell,
            serialNumber: cell,
            timeInterval: cell,
            manufacturer: cell,
            model: cell,
          },
          error: cell,
        });
      }
      const [, ...rows] = writeErrorCsv(about.refused, 'line').trimEnd().split('\r\n');
      expect(rows).toHaveLength(4);
      for (const row of rows) {
        // Whatever a spreadsheet takes for its separator.
        for (const piece of row.split(/[,;]/)) {
          expect(piece.replace(/^[\s"]+/, '')).not.toMatch(/^[=+\-@\t\r＝＠]/u);
        }
      }
    },
  );

  it('escapes what would rewrite a terminal and shortens what is long', () => {
    const cells = {
      upn: '\u001b[2Jx\u202e',
      serialNumber: 'y'.repeat(1000),
      timeInterval: '',
      manufacturer: '',
      model: '',
    };
    const text = writeErrorCsv([{ at: 1, cells, error: 'bad' }], 'key');
    expect(text).toContain('"\\u{1b}[2Jx\\u{202e}"');
    expect(text.length).toBeLessThan(500);
    expect(text).toContain('key 1: bad');
  });

  it('shows names that only look a little like secrets', () => {
    const { refused } = readTokenCsv(
      file(
        `christopher.johnson-smith,FT-0123456789,${BASE32},45,Contoso Technologies,Hardware Key Model Seven`,
      ),
    );
    expect(refused[0]?.cells).toEqual({
      upn: 'christopher.johnson-smith',
      serialNumber: 'FT-0123456789',
      timeInterval: '45',
      manufacturer: 'Contoso Technologies',
      model: 'Hardware Key Model Seven',
    });
  });

  it.each([
    [
      'in groups of two, in hex',
      `alice,${SECRET.toString('hex').replace(/(..)(?!$)/g, '$1:')},1,30,,`,
    ],
    ['swapped with the serial number', `alice,${BASE32},GAKT1,30,,`],
    ['swapped with the user', `${BASE32},1,alice,30,,`],
    ['in small groups', `alice,${BASE32.toLowerCase().replace(/(.{4})/g, '$1 ')},1,30,,`],
    ['in hex', `alice,${SECRET.toString('hex')},1,30,,`],
    ['run together with another cell', `alice,GAKT1${BASE32},1,30,,`],
    ['one cell too far', `alice,1,,${BASE32},30,,`],
    ['too short, in the model', 'alice,1,,30,,JBSWY3DPEHPK3PXP'],
  ])('does not show a secret %s', (_, row) => {
    const { refused } = readTokenCsv(file(row));
    expect(refused).toHaveLength(1);
    const text = writeErrorCsv(refused, 'line').toLowerCase().replace(/[ :]/g, '');
    for (const secret of [BASE32, SECRET.toString('hex'), 'JBSWY3DPEHPK3PXP']) {
      expect(text).not.toContain(secret.toLowerCase());
    }
  });
});

function errorOf(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}
