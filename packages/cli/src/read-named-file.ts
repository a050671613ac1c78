import { readFileSync } from 'node:fs';
import { CliError } from './cli-error.ts';

/** The text of a file that an option names. Throws CliError saying `what` cannot be read from it. */
export function readNamedFile(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError(`cannot read ${what} from ${path}`, { cause: error });
  }
}
