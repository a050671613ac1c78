import { CliError } from '../cli-error.ts';

/** A part of a CSV file that is one by itself: the header and some records. `linesBefore` its first record. */
export type CsvPart = {
  text: string;
  /** To add to a line number of the part to get that of the file. */
  linesBefore: number;
  records: number;
};

const PART_MAX_CHARS = 400 * 1024;

/**
 * Cuts a CSV file into parts of at most `recordsMax` records, each with the header before it. Quotes are looked at only
 * to find where records end; what is in the cells is the server's to judge.
 * @throws CliError for a record that is too long for any part
 */
export function splitCsv(text: string, recordsMax: number): CsvPart[] {
  const [header = '', ...records] = recordsOf(text.replace(/^\uFEFF/, ''));
  const headerLines = linesIn(header);
  const parts: CsvPart[] = [];
  let part: CsvPart | null = null;
  let line = headerLines;
  for (const record of records) {
    if (header.length + record.length > PART_MAX_CHARS) {
      throw new CliError(`line ${line + 1}: the record is too long`);
    }
    const isFull = (one: CsvPart) =>
      one.records === recordsMax || one.text.length + record.length > PART_MAX_CHARS;
    if (!part || isFull(part)) {
      part = { text: header, linesBefore: line - headerLines, records: 0 };
      parts.push(part);
    }
    part.text += record;
    part.records += 1;
    line += linesIn(record);
  }
  return parts.length > 0 ? parts : [{ text: header, linesBefore: 0, records: 0 }];
}

/** With their line ends; a line end between quotes is part of its record. */
function recordsOf(text: string): string[] {
  const records: string[] = [];
  let from = 0;
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    // A doubled quote toggles twice.
    if (text[at] === '"') isQuoted = !isQuoted;
    else if (text[at] === '\n' && !isQuoted) {
      records.push(text.slice(from, at + 1));
      from = at + 1;
    }
  }
  if (from < text.length) records.push(text.slice(from));
  return records;
}

function linesIn(text: string): number {
  return text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
}
