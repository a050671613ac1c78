import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { CliError } from './cli-error.ts';

/** What `countersign login` leaves for the commands after it. */
export type SavedSession = {
  /** Origins that it is sent to, and to nobody else. */
  servers: string[];
  token: string;
  username: string;
  expiresAt: string;
  freshUntil: string;
};

/** In the user's own folder for configuration. */
function sessionPath(env: NodeJS.ProcessEnv): string {
  const named = env.COUNTERSIGN_SESSION_FILE;
  if (named) return named;
  const folder = env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config');
  return join(folder, 'countersign', 'session.json');
}

/**
 * Null where nobody is signed in, or not any more.
 * @throws CliError where others could have read it
 */
export function readSession(env: NodeJS.ProcessEnv, nowMs = Date.now()): SavedSession | null {
  const path = sessionPath(env);
  try {
    const { mode } = statSync(path);
    if ((mode & 0o077) !== 0) {
      throw new CliError(`others may read ${path}: countersign logout, and log in again`);
    }
    const session = JSON.parse(readFileSync(path, 'utf8')) as SavedSession;
    return Date.parse(session.expiresAt) > nowMs ? session : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    if (error instanceof CliError) throw error;
    throw new CliError(`cannot read the session from ${path}`, { cause: error });
  }
}

export function saveSession(env: NodeJS.ProcessEnv, session: SavedSession): void {
  const path = sessionPath(env);
  const draft = `${path}.${process.pid}.tmp`;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  rmSync(draft, { force: true });
  writeFileSync(draft, `${JSON.stringify(session)}\n`, { mode: 0o600, flag: 'wx' });
  renameSync(draft, path);
}

/** The session anew in place of the one that was sent, unless somebody has signed in or out meanwhile. */
export function renewSession(
  env: NodeJS.ProcessEnv,
  { sent, token }: { sent: string | null; token: string },
): void {
  const saved = readSession(env);
  if (saved && saved.token === sent) saveSession(env, { ...saved, token });
}

export function forgetSession(env: NodeJS.ProcessEnv): void {
  rmSync(sessionPath(env), { force: true });
}
