export type CsvRecord = { line: number; cells: string[] };

/** A record without an end: an opening quote without its partner, most likely. */
export class CsvError extends Error {
  override readonly name = 'CsvError';
}

const MAX_RECORD_CHARS = 64 * 1024;

/**
 * Records of a CSV text (RFC 4180; the cells may also be separated by `;`), with the line each begins at. Empty
 * lines are left out.
 * @throws CsvError when a record is longer than 64 Ki characters or a quote is left open
 */
export async function* readCsv(text: AsyncIterable<string>): AsyncGenerator<CsvRecord> {
  const reader = new CsvReader();
  let isFirst = true;
  for await (const chunk of text) {
    // Spreadsheets begin their files with a byte order mark.
    yield* reader.read(isFirst ? chunk.replace(/^\uFEFF/, '') : chunk);
    isFirst = false;
  }
  yield* reader.end();
}

class CsvReader {
  /** Whichever comes first in the first line. */
  #separator = '';
  #line = 1;
  #startLine = 1;
  #sizeChars = 0;
  #cells: string[] = [];
  #cell = '';
  #state: 'plain' | 'quoted' | 'quote in quoted' = 'plain';

  *read(chunk: string): Generator<CsvRecord> {
    for (const character of chunk) {
      if (character === '\n') this.#line += 1;
      this.#sizeChars += 1;
      if (this.#sizeChars > MAX_RECORD_CHARS) {
        throw new CsvError(`line ${this.#startLine}: the record is too long`);
      }
      if (this.#state === 'quoted') this.#readQuoted(character);
      else if (character === '"' && this.#opensQuote()) this.#state = 'quoted';
      else if (character === '\n') yield* this.#endRecord();
      else if (this.#separates(character)) this.#endCell();
      else this.#cell += character;
    }
  }

  *end(): Generator<CsvRecord> {
    if (this.#state === 'quoted') {
      throw new CsvError(`line ${this.#startLine}: a quote is left open`);
    }
    yield* this.#endRecord();
  }

  #readQuoted(character: string): void {
    if (character === '"') this.#state = 'quote in quoted';
    else this.#cell += character;
  }

  #opensQuote(): boolean {
    if (this.#state === 'quote in quoted') {
      this.#cell += '"';
      return true;
    }
    return this.#cell === '';
  }

  #separates(character: string): boolean {
    if (this.#separator === '' && (character === ',' || character === ';')) {
      this.#separator = character;
    }
    return character === this.#separator;
  }

  #endCell(): void {
    this.#cells.push(this.#cell);
    this.#cell = '';
    this.#state = 'plain';
  }

  *#endRecord(): Generator<CsvRecord> {
    this.#cell = this.#cell.replace(/\r$/, '');
    this.#endCell();
    const record = { line: this.#startLine, cells: this.#cells };
    this.#cells = [];
    this.#sizeChars = 0;
    this.#startLine = this.#line;
    this.#separator ||= ',';
    if (record.cells.length > 1 || record.cells[0] !== '') yield record;
  }
}
