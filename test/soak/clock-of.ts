import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SHIFT = fileURLToPath(new URL('shift-clock.mjs', import.meta.url));

/** Holds by how many ms that node's processes see a wall clock that is off. */
export function clockFileOf(folder: string, node: string): string {
  return join(folder, `${node}.clock`);
}

/** Makes that node's processes read the file. */
export function clockEnvironment(file: string): NodeJS.ProcessEnv {
  return { NODE_OPTIONS: `--import ${SHIFT}`, COUNTERSIGN_TEST_CLOCK_FILE: file };
}
