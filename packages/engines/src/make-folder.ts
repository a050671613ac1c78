import { chmod, chown, mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

import { EngineError } from './engine-error.ts';

/**
 * Makes a folder with exactly this mode and, when given, this owner. Missing parents are made so
 * that other users may pass through but not list them, because a dropped PostgreSQL must reach
 * its data below them.
 */
export async function makeFolder(
  path: string,
  mode: number,
  owner?: { uid: number; gid: number },
): Promise<void> {
  try {
    await makeParents(dirname(path));
    await mkdir(path).catch(ignoreExisting);
    await chmod(path, mode);
    if (owner) await chown(path, owner.uid, owner.gid);
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new EngineError(`cannot make the folder ${path} (${why})`, { cause });
  }
}

/** Makes a folder that only its owner may enter, and leaves one that exists as it is. */
export async function makePrivateFolder(path: string): Promise<void> {
  const existing = await stat(path).catch(() => undefined);
  if (existing?.isDirectory()) return;
  await makeFolder(path, 0o700);
}

async function makeParents(folder: string): Promise<void> {
  const firstMade = await mkdir(folder, { recursive: true });
  if (firstMade === undefined) return;
  // chmod rather than mkdir's mode, which the umask would narrow.
  for (let made = folder; made.length >= firstMade.length; made = dirname(made)) {
    await chmod(made, 0o711);
  }
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}
