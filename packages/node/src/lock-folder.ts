import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

import { NodeError } from './node-error.ts';
import { processIdentity } from './process-identity.ts';

/** What kind of process holds a folder; each kind has its own lock. */
export type LockKind = 'supervisor' | 'demo';

export interface FolderLock {
  release(): void;
}

/**
 * Holds a folder until `release` or the end of this process, however it ends.
 *
 * Everybody who wants the folder puts down a file named after the process and then looks for other
 * living ones. Two who come at once see each other, both step back and try again a random while
 * later. A dead process's file can be removed by anybody: its name never comes back.
 *
 * Throws NodeError naming the process that still holds the folder after `patienceMs`.
 */
export async function lockFolder(options: {
  folder: string;
  kind: LockKind;
  patienceMs?: number;
}): Promise<FolderLock> {
  const { folder, kind, patienceMs = 3_000 } = options;
  const mine = `.${kind}.${processIdentity(process.pid)}.lock`;
  const release = () => rmSync(join(folder, mine), { force: true });
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    put(folder, mine);
    const holder = findLockHolder(folder, kind, mine);
    if (holder === undefined) return { release };
    release();
    if (performance.now() >= giveUpAt) {
      throw new NodeError(
        `${folder} is in use by another ${kind} (process ${holder}): ` +
          'stop that one first or choose another folder',
      );
    }
    await wait(20 + Math.random() * 100);
  }
}

/** The id of the living process that holds the folder or is about to; removes what dead ones left. */
export function findLockHolder(folder: string, kind: LockKind, mine?: string): number | undefined {
  for (const name of readdirSync(folder)) {
    if (name === mine || !name.startsWith(`.${kind}.`) || !name.endsWith('.lock')) continue;
    const identity = name.slice(`.${kind}.`.length, -'.lock'.length);
    const pid = Number(identity.split('.')[1]);
    if (processIdentity(pid) === identity) return pid;
    rmSync(join(folder, name), { force: true });
  }
  return undefined;
}

function put(folder: string, name: string): void {
  try {
    writeFileSync(join(folder, name), '', { mode: 0o600 });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new NodeError(`cannot write into ${folder} (${code})`, { cause });
  }
}
