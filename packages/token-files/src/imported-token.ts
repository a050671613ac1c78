import { checkSecret, isSafeText } from '@countersign/verification';
import type { OtpAlgorithm, OtpDigits } from '@countersign/verification';

/** What every reader makes of a token; its fields have the bounds of a user document's authenticator. */
export type ImportedToken = {
  username?: string;
  serial?: string;
  manufacturer?: string;
  model?: string;
  secret: Buffer;
  algorithm: OtpAlgorithm;
  digits: OtpDigits;
  /** After this moment its maker wants it refused (ISO 8601, PSKC only). */
  expiresAt?: string;
} & TokenMoves;

/** What moves a token from one code to the next. */
export type TokenMoves =
  /** `driftSteps`: how far its clock was known to be ahead, -100 to 100. */
  | { type: 'totp'; periodSeconds: 30 | 60; driftSteps?: number }
  | { type: 'hotp'; initialCounter: number };

/** `at`: the line it ends on in a CSV file, the how manieth key it is in a PSKC file, from 1. */
export type PlacedToken = { at: number; token: ImportedToken };

export type ReadTokens = {
  tokens: PlacedToken[];
  /** Those that cannot be imported as they are, in the order of the file. */
  refused: RefusedToken[];
};

/** Safe to show and to keep: it holds no secret. The cells are as given: escape them where they go. */
export type RefusedToken = { at: number; cells: TokenCells; error: string };

export type TokenCells = {
  upn: string;
  serialNumber: string;
  timeInterval: string;
  manufacturer: string;
  model: string;
};

/** A file that cannot be read as a whole. The message repeats nothing from the file. */
export class TokenFileError extends Error {
  override readonly name = 'TokenFileError';
}

/** Puts a token that was read well among the refused, say because its user is not known. */
export function refuseToken({ at, token }: PlacedToken, error: string): RefusedToken {
  const cells = {
    upn: token.username ?? '',
    serialNumber: token.serial ?? '',
    timeInterval: token.type === 'totp' ? String(token.periodSeconds) : '',
    manufacturer: token.manufacturer ?? '',
    model: token.model ?? '',
  };
  return { at, cells: maskStraySecrets(cells), error };
}

/** In a file with swapped columns the secret is where nobody expects it. */
export function maskStraySecrets(cells: TokenCells): TokenCells {
  return {
    upn: maskIf(cells.upn, LONGER_SECRET),
    serialNumber: maskIf(cells.serialNumber, SECRET),
    timeInterval: maskIf(cells.timeInterval, SECRET),
    manufacturer: maskIf(cells.manufacturer, SECRET),
    model: maskIf(cells.model, SECRET),
  };
}

export const MASK = '***';

// 80 bits or more in base32 or hex.
const SECRET = /[A-Z2-7]{16}|[0-9A-F]{20}/i;
// A name of 16 letters is likelier than so short a secret that stands in its place.
const LONGER_SECRET = /[A-Z2-7]{28}|[0-9A-F]{35}/i;

// In groups of 2, 4 or 8. (Just any spaces would make a secret of "Contoso Technologies".)
const GROUPED_SECRET =
  /^(?:(?:[A-Z0-9]{2}[\s:-]){9,}|(?:[A-Z0-9]{4}[\s-]){3,}|(?:[A-Z0-9]{8}[\s-]){2,})[A-Z0-9]{1,8}[\s=]*$/i;

function maskIf(cell: string, secret: RegExp): string {
  return secret.test(cell) || GROUPED_SECRET.test(cell) ? MASK : cell;
}

const NAME_MAX_BYTES = 256;

/** What is wrong with a serial number, manufacturer or model, or null. */
export function checkName(what: string, text: string): string | null {
  if (Buffer.byteLength(text, 'utf8') > NAME_MAX_BYTES) return `${what} has more than 256 bytes`;
  if (!isSafeText(text)) return `${what} has control or invisible characters`;
  return null;
}

export function checkTokenSecret(secret: Uint8Array): string | null {
  const problem = checkSecret(secret);
  return problem && `the secret is of no use: ${problem}`;
}

const FILE_MAX_BYTES = 20 * 1024 * 1024;

/**
 * The text of a file, without its byte order mark.
 * @throws TokenFileError beyond 20 MiB, or if it is not UTF-8
 */
export function decodeFile(file: Uint8Array | string): string {
  const sizeBytes = typeof file === 'string' ? Buffer.byteLength(file, 'utf8') : file.length;
  if (sizeBytes > FILE_MAX_BYTES) throw new TokenFileError('the file is larger than 20 MiB');
  if (typeof file === 'string') return file.replace(/^\uFEFF/, '');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(file);
  } catch {
    throw new TokenFileError('the file is not UTF-8 text');
  }
}
