import { escapeAll } from './escape-all.ts';
import { formatTable } from './table.ts';

// What a terminal could obey; JSON.stringify leaves most of it as it is.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Lines from us with text from outside already escaped. */
export function printLines(lines: string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}

/** A table of cells that may hold any text. */
export function printTable(headings: string[], rows: string[][]): void {
  printLines(formatTable(headings, escapeAll(rows)));
}

/** JSON that means the same and is safe to show. */
export function printJson(value: unknown): void {
  process.stdout.write(`${escapeJson(JSON.stringify(value, null, 2))}\n`);
}

/** The same in one line. */
export function printJsonLine(value: unknown): void {
  process.stdout.write(`${escapeJson(JSON.stringify(value))}\n`);
}

export function escapeJson(json: string): string {
  return json.replace(UNSAFE, (character) => {
    if (character === '\n') return character;
    return Array.from({ length: character.length }, (_, at) => {
      return `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`;
    }).join('');
  });
}
