import { escapeUntrusted } from '@countersign/verification';
import { stringify } from 'csv-stringify/sync';
import { MASK } from './imported-token.ts';
import type { RefusedToken } from './imported-token.ts';

const HEADER = [
  'upn',
  'serial number',
  'secret key',
  'time interval',
  'manufacturer',
  'model',
  'error',
];
const CELL_MAX_CHARS = 256;

/**
 * The refused tokens as a file for a spreadsheet: the columns of the file that is imported and what
 * is wrong, with its place. Secrets are masked, and no cell is a formula. Corrected, with the
 * secrets filled in again, {@link readTokenCsv} reads it.
 * @param place what `at` counts: the lines of a CSV file or the keys of a PSKC file
 */
export function writeErrorCsv(refused: readonly RefusedToken[], place: 'line' | 'key'): string {
  const rows = refused.map(({ at, cells, error }) =>
    [
      cells.upn,
      cells.serialNumber,
      MASK,
      cells.timeInterval,
      cells.manufacturer,
      cells.model,
      `${place} ${at}: ${error}`,
    ].map(harmless),
  );
  return stringify([HEADER, ...rows], {
    quoted: true,
    escape_formulas: true,
    record_delimiter: 'windows',
  });
}

// Spreadsheets that take ; (or, elsewhere, a comma) for the separator cut a cell in two there, and
// what follows would be the start of a cell.
function harmless(cell: string): string {
  return escapeUntrusted(cell, CELL_MAX_CHARS).replace(
    /[,;](?=[\s"']*[=+\-@\uFF0B\uFF0D\uFF1D\uFF20])/g,
    (separator) => `\\u{${separator.codePointAt(0)!.toString(16)}}`,
  );
}
