import { FilterParser } from 'ldapts';
import type { Filter } from 'ldapts';
import { DirectoryError } from './directory-error.ts';

/**
 * A filter of the configuration (RFC 4515). Bytes from 0x80 on that are written as escapes must be
 * UTF-8: they are read here, because the library would make two characters of each.
 */
export function parseFilter(text: string): Filter {
  try {
    // The library closes what is left open.
    if (text.split('(').length !== text.split(')').length) throw new Error('( and ) differ');
    return FilterParser.parseString(text.replace(/(?:\\[89a-f][0-9a-f])+/gi, decodeEscapes));
  } catch (error) {
    throw new DirectoryError('answer', `the filter ${text} cannot be read`, { cause: error });
  }
}

function decodeEscapes(escapes: string): string {
  const bytes = Buffer.from(escapes.replaceAll('\\', ''), 'hex');
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
}
