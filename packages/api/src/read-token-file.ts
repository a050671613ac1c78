import {
  readOtpauth,
  readPskc,
  readTokenCsv,
  TokenFileError,
  type PlacedToken,
  type RefusedToken,
} from '@countersign/token-files';

export type TokenFile = {
  format: 'csv' | 'pskc' | 'otpauth';
  content: string;
  /** Of an encrypted PSKC file. */
  password?: string | undefined;
  preSharedKey?: Uint8Array | undefined;
};

export type TokenRows = {
  tokens: PlacedToken[];
  refused: RefusedToken[];
  /** What `at` counts. */
  place: 'line' | 'key';
  notes: string[];
};

const UNCHECKED_SIGNATURE =
  'the file is signed, and its signature was not checked: there is no list of makers to trust';

/**
 * The tokens of a file, and those that cannot be imported as they are.
 * @throws TokenFileError when the file as a whole cannot be read; its message repeats nothing from the file
 */
export async function readTokenFile(file: TokenFile): Promise<TokenRows> {
  const { format, content, password, preSharedKey } = file;
  if (format === 'csv') return { ...readTokenCsv(content), place: 'line', notes: [] };
  if (format === 'otpauth') return { ...readUris(content), place: 'line', notes: [] };
  const { hasUncheckedSignature, tokens, refused } = await readPskc(content, {
    ...(password !== undefined && { password }),
    ...(preSharedKey !== undefined && { preSharedKey }),
  });
  const notes = hasUncheckedSignature ? [UNCHECKED_SIGNATURE] : [];
  return { tokens, refused, place: 'key', notes };
}

/** One URI a line. */
function readUris(content: string): Pick<TokenRows, 'tokens' | 'refused'> {
  const rows: Pick<TokenRows, 'tokens' | 'refused'> = { tokens: [], refused: [] };
  for (const [index, line] of content.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const at = index + 1;
    try {
      rows.tokens.push({ at, token: readOtpauth(line).token });
    } catch (error) {
      if (!(error instanceof TokenFileError)) throw error;
      rows.refused.push({ at, cells: NO_CELLS, error: error.message });
    }
  }
  return rows;
}

const NO_CELLS = { upn: '', serialNumber: '', timeInterval: '', manufacturer: '', model: '' };
