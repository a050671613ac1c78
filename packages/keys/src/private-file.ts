import { PrivateFileError, readPrivateFile, writePrivateFile } from '@countersign/private-files';
import { KeyError } from './key-error.ts';

/**
 * Writes a file only its owner can read, whole and on the disk. `replace: false` never replaces one that is there.
 * @throws KeyError `exists`, or `unreadable` when it cannot be written; `what` names it
 */
export function writeKeyFile(
  path: string,
  text: string,
  options: { what: string; replace: boolean },
): void {
  asKeyError(() => writePrivateFile(path, text, options));
}

/**
 * Reads a file that nobody but its owner may have any right on.
 * @throws KeyError `missing`, `unreadable`, `unsafe_mode`, or `malformed` for no file or one above `maxBytes`
 */
export function readKeyFile(path: string, options: { what: string; maxBytes: number }): string {
  return asKeyError(() => readPrivateFile(path, options));
}

function asKeyError<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof PrivateFileError)) throw error;
    throw new KeyError(error.code, error.message, { cause: error.cause });
  }
}
