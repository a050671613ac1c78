import {
  Base32Error,
  checkSecret,
  checkUsername,
  decodeBase32,
  usernameKey,
} from '@countersign/verification';
import { CliError } from '../cli-error.ts';
import { readCsv } from './read-csv.ts';

/** As the API takes it, with the line it stands on. */
export type ImportedUser = {
  username: string;
  displayName?: string;
  email?: string;
  enabled?: boolean;
  authenticators?: Record<string, unknown>[];
};
export type ReadUser = { line: number; user: ImportedUser } | { line: number; problem: string };

export type ImportFormat = 'csv' | 'ndjson';

const MAX_LINE_CHARS = 64 * 1024;

const USER_COLUMNS = ['username', 'displayName', 'email', 'enabled'];
const TOKEN_COLUMNS = ['type', 'secret', 'name', 'algorithm', 'digits', 'periodSeconds'];
const COLUMNS = [...USER_COLUMNS, ...TOKEN_COLUMNS, 'initialCounter'];
const NUMBERS = new Set(['digits', 'periodSeconds', 'initialCounter']);

/**
 * The users of a file, each checked as far as that is possible without the server. No problem repeats a value: it
 * may be a secret.
 * @throws CliError when the file as a whole cannot be read as that format
 */
export async function* readUsers(
  text: AsyncIterable<string>,
  format: ImportFormat,
  options: { mayMakeSecrets: boolean },
): AsyncGenerator<ReadUser> {
  const seen = new Map<string, number>();
  for await (const read of format === 'csv' ? usersOfCsv(text) : usersOfNdjson(text)) {
    const problem = 'problem' in read ? read.problem : problemOf(read.user, options);
    if (problem !== null || 'problem' in read) {
      yield { line: read.line, problem: problem ?? 'is not valid' };
      continue;
    }
    const key = usernameKey(read.user.username);
    const before = seen.get(key);
    if (before === undefined) {
      seen.set(key, read.line);
      yield read;
    } else yield { line: read.line, problem: `has the same username as line ${before}` };
  }
}

async function* usersOfNdjson(text: AsyncIterable<string>): AsyncGenerator<ReadUser> {
  let line = 0;
  for await (const content of linesOf(text)) {
    line += 1;
    if (content.trim() === '') continue;
    let user: unknown = null;
    try {
      user = JSON.parse(content);
    } catch {
      // The parser's words quote the text.
    }
    if (typeof user !== 'object' || user === null || Array.isArray(user)) {
      yield { line, problem: 'is not a JSON object' };
    } else yield { line, user: user as ImportedUser };
  }
}

async function* linesOf(text: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of text) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE_CHARS) throw new CliError('a line is longer than 64 KiB');
    yield* lines;
  }
  yield rest;
}

async function* usersOfCsv(text: AsyncIterable<string>): AsyncGenerator<ReadUser> {
  let columns: string[] | null = null;
  for await (const { line, cells } of readCsv(text)) {
    if (!columns) {
      columns = readHeader(cells);
      continue;
    }
    if (cells.length !== columns.length) {
      yield { line, problem: `has ${cells.length} cells, the header has ${columns.length}` };
      continue;
    }
    yield userOfCells(line, columns, cells);
  }
  if (!columns) throw new CliError('the file is empty');
}

function readHeader(cells: string[]): string[] {
  const columns = cells.map((cell) => {
    const wanted = cell.trim().toLowerCase().replaceAll('_', '');
    return COLUMNS.find((column) => column.toLowerCase() === wanted) ?? '';
  });
  const unknown = columns.indexOf('');
  if (unknown !== -1) {
    throw new CliError(`column ${unknown + 1} of the header is none of ${COLUMNS.join(', ')}`);
  }
  if (!columns.includes('username')) throw new CliError('the header has no column username');
  return columns;
}

function userOfCells(line: number, columns: string[], cells: string[]): ReadUser {
  const user: Record<string, unknown> = {};
  const token: Record<string, unknown> = {};
  for (const [index, column] of columns.entries()) {
    const cell = cells[index]!.trim();
    if (cell === '') continue;
    if (column === 'enabled') {
      const enabled = { true: true, yes: true, 1: true, false: false, no: false, 0: false };
      const found = enabled[cell.toLowerCase() as keyof typeof enabled];
      if (found === undefined) return { line, problem: 'enabled must be true or false' };
      user.enabled = found;
    } else if (USER_COLUMNS.includes(column)) user[column] = cell;
    else token[column] = NUMBERS.has(column) ? Number(cell) : cell;
  }
  if (Object.keys(token).length > 0) user.authenticators = [token];
  return { line, user: user as ImportedUser };
}

/** What the server would refuse as well, said before anything is sent. */
function problemOf(user: ImportedUser, options: { mayMakeSecrets: boolean }): string | null {
  if (typeof user.username !== 'string') return 'has no username';
  const flaw = checkUsername(user.username.trim());
  if (flaw) return flaw;
  const { authenticators = [] } = user;
  if (!Array.isArray(authenticators)) return 'authenticators must be a list';
  for (const { type, secret } of authenticators) {
    if (type !== 'totp' && type !== 'hotp') return 'type must be totp or hotp';
    if (secret === undefined && !options.mayMakeSecrets) {
      return 'has no secret: with --json one is made and printed';
    }
    const weakness = typeof secret === 'string' ? weaknessOf(secret) : null;
    if (weakness) return weakness;
  }
  return null;
}

function weaknessOf(secret: string): string | null {
  try {
    const problem = checkSecret(decodeBase32(secret));
    return problem && `secret: ${problem}`;
  } catch (error) {
    if (error instanceof Base32Error) return `secret: ${error.message}`;
    throw error;
  }
}
