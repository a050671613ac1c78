import { Base32Error, checkUsername, decodeBase32 } from '@countersign/verification';
import { CsvError } from 'csv-parse';
import { parse } from 'csv-parse/sync';
import {
  TokenFileError,
  checkName,
  checkTokenSecret,
  decodeFile,
  maskStraySecrets,
} from './imported-token.ts';
import type { ImportedToken, ReadTokens, TokenCells } from './imported-token.ts';
import { refuseDuplicates } from './refuse-duplicates.ts';

/** The columns of the file, under the names that its header has without spaces. */
const COLUMNS = {
  upn: 'upn',
  serialNumber: 'serialnumber',
  secretKey: 'secretkey',
  timeInterval: 'timeinterval',
  manufacturer: 'manufacturer',
  model: 'model',
  // Of a file of refused tokens that was corrected and comes back: not read.
  error: 'error',
} as const;
type Column = keyof typeof COLUMNS;
const REQUIRED: Column[] = ['upn', 'serialNumber', 'secretKey', 'timeInterval'];

const ROWS_MAX = 100_000;
const CELL_MAX_BYTES = 1024;
const RECORD_MAX_CHARS = 16 * 1024;

type Row = { line: number; cells: string[] };

/**
 * Reads the token file of the predecessor: a header with the columns upn, serial number, secret
 * key, time interval, manufacturer and model in any order, then one TOTP token (SHA-1, 6 digits) a
 * row. Separated by commas, semicolons or tabs, whichever comes first in the header; UTF-8.
 * Bounds: 20 MiB, 100,000 rows, 1 KiB a cell. It computes for about a second at those bounds.
 * @throws TokenFileError when the file as a whole cannot be read
 */
export function readTokenCsv(file: Uint8Array | string): ReadTokens {
  const [header, ...rows] = parseRows(decodeFile(file));
  if (!header) throw new TokenFileError('the file is empty');
  const columns = readHeader(header.cells);

  const read: ReadTokens = { tokens: [], refused: [] };
  for (const { line, cells } of rows) {
    if (cells.length !== columns.length) {
      const error = `has ${cells.length} cells, the header has ${columns.length}`;
      // Which of them is the secret is anybody's guess.
      read.refused.push({ at: line, cells: NO_CELLS, error });
      continue;
    }
    const row = byColumn(columns, cells);
    const token = readRow(row);
    if (typeof token === 'string') {
      read.refused.push({ at: line, cells: withoutSecret(row), error: token });
    } else read.tokens.push({ at: line, token });
  }
  return refuseDuplicates(read, 'line');
}

const NO_CELLS: TokenCells = {
  upn: '',
  serialNumber: '',
  timeInterval: '',
  manufacturer: '',
  model: '',
};

function parseRows(text: string): Row[] {
  refuseLongLines(text);
  const rows: Row[] = [];
  try {
    parse(text, {
      delimiter: /[,;\t]/.exec(text)?.[0] ?? ',',
      relax_column_count: true,
      skip_empty_lines: true,
      skip_records_with_empty_values: true,
      max_record_size: RECORD_MAX_CHARS,
      onRecord: (cells, { lines }) => {
        // The header is one of them.
        if (rows.length > ROWS_MAX) {
          throw new TokenFileError('the file has more than 100,000 rows');
        }
        rows.push({ line: lines, cells });
        return null;
      },
    });
    return rows;
  } catch (error) {
    if (error instanceof CsvError) throw new TokenFileError(describeCsvError(error));
    throw error;
  }
}

// The parser bounds what is in a row's cells, not how many empty ones it has.
function refuseLongLines(text: string): void {
  let line = 1;
  let startsAt = 0;
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index];
    if (character === '\n' || character === '\r') startsAt = index + 1;
    if (character === '\n') line += 1;
    if (index - startsAt > RECORD_MAX_CHARS) {
      throw new TokenFileError(`line ${line}: the row is too long`);
    }
  }
}

// The library's own words quote the text.
function describeCsvError(error: CsvError): string {
  const line = Number(error['lines']) || 1;
  if (error.code === 'CSV_MAX_RECORD_SIZE') return `line ${line}: the row is too long`;
  if (error.code === 'CSV_QUOTE_NOT_CLOSED') return `line ${line}: a quote is left open`;
  return `line ${line}: a quote in the wrong place`;
}

function readHeader(cells: string[]): Column[] {
  const columns = cells.map((cell, index) => {
    const wanted = cell.slice(0, 64).toLowerCase().replace(/[\s_]/g, '');
    const known = Object.entries(COLUMNS).find(([, name]) => name === wanted);
    if (known) return known[0] as Column;
    // Not repeated: without a header it is somebody's token.
    throw new TokenFileError(
      `column ${index + 1} of the header is none of upn, serial number, secret key, time interval, manufacturer, model`,
    );
  });
  const missing = REQUIRED.find((column) => !columns.includes(column));
  if (missing) throw new TokenFileError(`the header has no column ${spaced(missing)}`);
  const twice = columns.find((column, index) => columns.indexOf(column) !== index);
  if (twice) throw new TokenFileError(`the header has the column ${spaced(twice)} twice`);
  return columns;
}

function spaced(column: Column): string {
  return column.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

type CellOf = Partial<Record<Column, string>>;

function byColumn(columns: Column[], cells: string[]): CellOf {
  return Object.fromEntries(
    columns.map((column, index) => [column, unquoteFormula(cells[index]!.trim())]),
  );
}

/** Undoes what {@link writeErrorCsv} does to a cell. */
function unquoteFormula(cell: string): string {
  return cell.replace(/^'(?=[=+\-@\uFF0B\uFF0D\uFF1D\uFF20])/, '');
}

/** The token, or what is wrong with it. */
function readRow(row: CellOf): ImportedToken | string {
  const tooLong = Object.values(row).some(
    (cell) => Buffer.byteLength(cell, 'utf8') > CELL_MAX_BYTES,
  );
  if (tooLong) return 'a cell has more than 1,024 bytes';
  const { upn = '', serialNumber = '', secretKey = '', timeInterval = '' } = row;
  const { manufacturer = '', model = '' } = row;

  const missing = REQUIRED.find((column) => !row[column]);
  if (missing) return `${spaced(missing)} is missing`;
  const problem =
    checkUsername(upn) ??
    checkName('serial number', serialNumber) ??
    checkName('manufacturer', manufacturer) ??
    checkName('model', model);
  if (problem) return problem;
  if (timeInterval !== '30' && timeInterval !== '60') return 'time interval is not 30 or 60';
  const secret = readSecret(secretKey);
  if (typeof secret === 'string') return secret;
  return {
    type: 'totp',
    username: upn,
    serial: serialNumber,
    ...(manufacturer && { manufacturer }),
    ...(model && { model }),
    secret,
    algorithm: 'SHA1',
    digits: 6,
    periodSeconds: timeInterval === '30' ? 30 : 60,
  };
}

function readSecret(text: string): Buffer | string {
  try {
    const secret = decodeBase32(text);
    return checkTokenSecret(secret) ?? secret;
  } catch (error) {
    if (error instanceof Base32Error) return `secret key: ${error.message}`;
    throw error;
  }
}

function withoutSecret(row: CellOf): TokenCells {
  const { secretKey: _secret, error: _error, ...cells } = row;
  return maskStraySecrets({ ...NO_CELLS, ...cells });
}
