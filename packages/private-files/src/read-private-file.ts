import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { PrivateFileError } from './private-file-error.ts';

/**
 * Reads a file that nobody but its owner may have any right on; `what` names it in messages.
 * @throws PrivateFileError `missing`, `unreadable`, `unsafe_mode`, or `malformed` for no file or one above `maxBytes`
 */
export function readPrivateFile(
  path: string,
  { what, maxBytes }: { what: string; maxBytes: number },
): string {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new PrivateFileError('missing', `${what} ${path} does not exist`, { cause });
    }
    const why = `cannot read ${what} ${path}: ${(cause as Error).message}`;
    throw new PrivateFileError('unreadable', why, { cause });
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size > maxBytes) {
      throw new PrivateFileError('malformed', `${path} is not a ${what}`);
    }
    assertPrivate(`${what} ${path}`, stat.mode, '600');
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

/** @throws PrivateFileError `unsafe_mode`: group or others have any right on it */
export function assertPrivate(name: string, mode: number, wanted: '600' | '700'): void {
  if ((mode & 0o077) === 0) return;
  const found = (mode & 0o777).toString(8).padStart(4, '0');
  throw new PrivateFileError(
    'unsafe_mode',
    `${name} has mode ${found}, so others may read it: chmod ${wanted} it`,
  );
}
