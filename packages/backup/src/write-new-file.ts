import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { link, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BackupError } from './backup-error.ts';

export type WrittenFile = { sizeBytes: number; sha256: string };

/** Ends what was begun and never finished; whoever finds one may remove it. */
export const PARTIAL_SUFFIX = '.partial';
/** A file system without hard links. */
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'];

/**
 * Writes a file only its owner may read. It appears under its name whole, on the disk and read back, or not at all, and
 * never takes the place of another.
 * @throws BackupError `exists`, `unwritable`; and what `chunks` throws
 */
export async function writeNewFile(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
): Promise<WrittenFile> {
  if (existsSync(path)) throw alreadyThere(path);
  const draft = `${path}.${randomBytes(6).toString('hex')}${PARTIAL_SUFFIX}`;
  try {
    const written = await writeDurably(draft, chunks);
    if ((await hashFile(draft)) !== written.sha256) {
      throw new BackupError(
        'unwritable',
        `what came back from the disk is not what was written to ${path}`,
      );
    }
    await putInPlace(draft, path);
    return written;
  } catch (error) {
    throw explain(error, path);
  } finally {
    await rm(draft, { force: true });
  }
}

async function writeDurably(path: string, chunks: AsyncIterable<Uint8Array>): Promise<WrittenFile> {
  const file = await open(path, 'wx', 0o600);
  try {
    const hash = createHash('sha256');
    let sizeBytes = 0;
    for await (const chunk of chunks) {
      hash.update(chunk);
      sizeBytes += chunk.length;
      await file.writeFile(chunk);
    }
    await file.sync();
    return { sizeBytes, sha256: hash.digest('hex') };
  } finally {
    await file.close();
  }
}

export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function putInPlace(draft: string, path: string): Promise<void> {
  try {
    // Unlike a rename, a link fails when the name is taken.
    await link(draft, path);
  } catch (error) {
    if (!NO_LINKS.includes(codeOf(error))) throw error;
    await (await open(path, 'wx', 0o600)).close();
    await rename(draft, path);
  }
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function explain(error: unknown, path: string): unknown {
  const code = codeOf(error);
  if (code === 'EEXIST') return alreadyThere(path);
  if (!/^E[A-Z]+$/.test(code) || (error as { syscall?: string }).syscall === undefined)
    return error;
  const why = code === 'ENOSPC' || code === 'EDQUOT' ? 'there is no room left' : code;
  return new BackupError('unwritable', `cannot write ${path}: ${why}`, { cause: error });
}

function alreadyThere(path: string): BackupError {
  return new BackupError('exists', `${path} is there already: nothing is overwritten`);
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}
