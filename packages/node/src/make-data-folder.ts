import { chmodSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

import { NodeError } from './node-error.ts';

/**
 * Makes a folder and its missing parents for their owner only; as root also passable for others,
 * because PostgreSQL then runs as another user below it. What exists stays as it is.
 */
export function makeDataFolder(path: string): void {
  const mode = process.getuid?.() === 0 ? 0o711 : 0o700;
  try {
    const firstMade = mkdirSync(path, { recursive: true });
    if (firstMade === undefined) return;
    // chmod rather than mkdir's mode, which the umask would narrow.
    for (let made = path; made.length >= firstMade.length; made = dirname(made)) {
      chmodSync(made, mode);
    }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new NodeError(`cannot make the folder ${path} (${code})`, { cause });
  }
}
