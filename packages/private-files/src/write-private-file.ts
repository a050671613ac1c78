import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { PrivateFileError } from './private-file-error.ts';

const DRAFT_END = /^[0-9a-f]{12}\.tmp$/;

/**
 * Writes a file only its owner may read; it is on the disk when this returns. Whoever reads it, also after a crash, sees
 * what was there or the new text, never a part. `replace: false` never replaces one that is there; with
 * `isDurable: false` a power cut may take it or leave half of it.
 * @throws PrivateFileError `exists`, or `unreadable` when it cannot be written; `what` names it
 */
export function writePrivateFile(
  path: string,
  text: string,
  {
    what = 'the file',
    replace = true,
    isDurable = true,
  }: { what?: string; replace?: boolean; isDurable?: boolean } = {},
): void {
  const draft = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    writeDraft(draft, text, isDurable);
    // Unlike a rename, a link fails when the name is taken: one creator wins, no reader sees half.
    if (replace) renameSync(draft, path);
    else linkSync(draft, path);
    if (isDurable) syncPath(dirname(path));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new PrivateFileError('exists', `${what} ${path} already exists`, { cause });
    }
    const why = `cannot write ${what} ${path}: ${(cause as Error).message}`;
    throw new PrivateFileError('unreadable', why, { cause });
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Removes what writes of that file have left that were killed, as far as this process may. For the file's only writer,
 * while it writes nothing.
 */
export function removeDrafts(path: string): void {
  const folder = dirname(path);
  const start = `${basename(path)}.`;
  try {
    for (const name of readdirSync(folder)) {
      const isDraft = name.startsWith(start) && DRAFT_END.test(name.slice(start.length));
      if (isDraft) rmSync(join(folder, name));
    }
  } catch {
    // A folder that is missing, or that somebody else has to look after.
  }
}

/** What the system keeps of a file or folder is on the disk when this returns. */
export function syncPath(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function writeDraft(path: string, text: string, isDurable: boolean): void {
  const file = openSync(path, 'wx', 0o600);
  try {
    writeFileSync(file, text);
    if (isDurable) fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
