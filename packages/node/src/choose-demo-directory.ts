import { existsSync, realpathSync, symlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

import { defaultPostgresUser, isReachableBy } from '@countersign/engines';

import { makeDataFolder } from './make-data-folder.ts';

export const defaultDemoDirectory = './demo-data';
const directoryForRoot = '/var/lib/countersign-demo';

/**
 * The folder of the demo, made if missing. Started by root from a place that PostgreSQL's own OS
 * user cannot enter, the default folder lies elsewhere, with a link to it where it would have been.
 */
export async function chooseDemoDirectory(
  wished: string,
  say: (line: string) => void,
): Promise<string> {
  const directory = resolve(wished);
  if (await mustMove(directory)) {
    makeDataFolder(directoryForRoot);
    if (!existsSync(directory)) symlinkSync(directoryForRoot, directory);
    say(
      `PostgreSQL does not run as root, and its user cannot enter ${dirname(directory)}: ` +
        `the demo lives in ${directoryForRoot} instead.`,
    );
    return directoryForRoot;
  }
  makeDataFolder(directory);
  return realpathSync(directory);
}

/** Whether the command line, run in this folder, finds the demo there by itself. */
export function isDefaultDemoDirectory(directory: string): boolean {
  const usual = resolve(defaultDemoDirectory);
  return existsSync(usual) && realpathSync(usual) === directory;
}

async function mustMove(directory: string): Promise<boolean> {
  if (process.getuid?.() !== 0 || directory !== resolve(defaultDemoDirectory)) return false;
  return !(await isReachableBy(join(directory, 'node-1'), defaultPostgresUser));
}
