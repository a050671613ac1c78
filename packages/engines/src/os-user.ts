import { access, constants, realpath } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

import { EngineError } from './engine-error.ts';
import { CommandError, runOnce } from './run-once.ts';
import type { OsUser } from './setpriv.ts';

/** The OS user PostgreSQL is dropped to when we run as root, which it refuses to run as. */
export const defaultPostgresUser = 'countersign';

/** The OS user of this process. Throws EngineError when it has no name: peer sign-in needs one. */
export function currentOsUser(): OsUser {
  try {
    const { username, uid, gid } = userInfo();
    return { name: username, uid, gid };
  } catch (cause) {
    const uid = process.getuid?.();
    throw new EngineError(`the user id ${uid} has no entry in /etc/passwd: PostgreSQL needs one`, {
      cause,
    });
  }
}

/**
 * The user PostgreSQL will run as: ourselves, or, when we are root, `name`, which is created as a
 * system user when it is missing.
 */
export async function choosePostgresUser(name = defaultPostgresUser): Promise<OsUser> {
  const current = currentOsUser();
  if (current.uid !== 0) return current;
  return (await lookUpOsUser(name)) ?? (await createSystemUser(name));
}

export async function lookUpOsUser(name: string): Promise<OsUser | undefined> {
  const entry = await runOnce({
    command: 'getent',
    args: ['passwd', name],
    timeoutMs: 5_000,
  }).catch((error: unknown) => {
    if (error instanceof CommandError) return '';
    throw error;
  });
  const [foundName, , uid, gid] = entry.trim().split(':');
  if (!foundName || !uid || !gid) return undefined;
  return { name: foundName, uid: Number(uid), gid: Number(gid) };
}

async function createSystemUser(name: string): Promise<OsUser> {
  const args = ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent'];
  let reason = '';
  // Nodes that start together race for the lock on /etc/passwd; one of them creates the user.
  for (let attempt = 0; attempt < 20; attempt += 1) {
    try {
      await runOnce({
        command: 'useradd',
        args: [...args, '--shell', '/usr/sbin/nologin', name],
        timeoutMs: 5_000,
      });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      reason = error.output.trim().split('\n').at(-1) ?? '';
    }
    const created = await lookUpOsUser(name);
    if (created) return created;
    await wait(100);
  }
  throw new EngineError(
    `PostgreSQL does not run as root and the user ${name} could not be created (${reason}): ` +
      `run "useradd --system ${name}" or start as an ordinary user`,
  );
}

/** Whether `osUser` can pass every folder on the way to `path` (which need not exist yet). */
export async function isReachableBy(path: string, osUser: string): Promise<boolean> {
  const user = osUser === currentOsUser().name ? currentOsUser() : await lookUpOsUser(osUser);
  // A user that does not exist yet has no groups: it passes exactly where everybody may.
  return (
    (await findBlockingFolder(path, user ?? { name: osUser, uid: 65_534, gid: 65_534 })) ===
    undefined
  );
}

/** The first folder on the way to `path` that `user` cannot enter. */
export async function findBlockingFolder(path: string, user: OsUser): Promise<string | undefined> {
  const existing = await realpathOfExisting(path);
  if (await canEnter(existing, user)) return undefined;
  for (const folder of foldersOnTheWay(existing)) {
    if (!(await canEnter(folder, user))) return folder;
  }
  return undefined;
}

async function canEnter(folder: string, user: OsUser): Promise<boolean> {
  if (user.uid === process.getuid?.()) {
    return await access(folder, constants.X_OK).then(
      () => true,
      () => false,
    );
  }
  // Asking the kernel as that user also honours groups and access lists.
  try {
    await runOnce({ command: 'test', args: ['-x', folder], runAs: user, timeoutMs: 5_000 });
    return true;
  } catch (error) {
    if (error instanceof CommandError) return false;
    throw error;
  }
}

async function realpathOfExisting(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : await realpathOfExisting(parent);
  }
}

function foldersOnTheWay(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [...foldersOnTheWay(parent), path];
}
