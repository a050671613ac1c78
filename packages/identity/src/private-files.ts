import * as files from '@countersign/private-files';
import { IdentityError } from './identity-error.ts';

const FILE_MAX_BYTES = 256 * 1024;
const WHAT = 'file of an identity';

/** Writes a file only its owner may read; after a crash there is the old text or the new, never a part. */
export function writeDurably(path: string, text: string): void {
  asIdentityError(() => files.writePrivateFile(path, text, { what: WHAT }));
}

/** Null: there is none. @throws IdentityError `unreadable`, `unsafe_mode` or `malformed` */
export function readPrivateFile(path: string): string | null {
  try {
    return asIdentityError(() =>
      files.readPrivateFile(path, { what: WHAT, maxBytes: FILE_MAX_BYTES }),
    );
  } catch (error) {
    if (error instanceof IdentityError && error.code === 'missing') return null;
    throw error;
  }
}

/** @throws IdentityError `unsafe_mode`: group or others have any right on it */
export function assertPrivate(path: string, mode: number, wanted: '600' | '700'): void {
  asIdentityError(() => files.assertPrivate(path, mode, wanted));
}

function asIdentityError<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof files.PrivateFileError)) throw error;
    throw new IdentityError(error.code, error.message, { cause: error.cause });
  }
}
