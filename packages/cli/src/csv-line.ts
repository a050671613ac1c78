import { escapeUntrusted } from '@countersign/verification';

const CELL_MAX_LENGTH = 4_096;
// Spreadsheets that take ; for the separator cut a cell in two there, and what follows begins a cell.
const FORMULA = /(^|[;,][\s"']*)([=+\-@\uFF0B\uFF0D\uFF1D\uFF20])/g;

/**
 * A line of CSV (RFC 4180) that no spreadsheet takes for a formula and no terminal for commands (security rule 28): all
 * cells are quoted, `= + - @` at the start of one get an apostrophe in front, control characters are escaped.
 */
export function csvLine(cells: readonly string[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}

function csvCell(text: string): string {
  const harmless = escapeUntrusted(text, CELL_MAX_LENGTH).replaceAll(FORMULA, "$1'$2");
  return `"${harmless.replaceAll('"', '""')}"`;
}
