import { readFileSync, statSync } from 'node:fs';
import { findSetting, SettingError, type Setting } from '@countersign/verification';
import { CliError } from './cli-error.ts';
import { readSecretText } from './read-input.ts';

const MAX_FILE_BYTES = 64 * 1024;

/** What a setting is. Throws CliError if there is none of that name. */
export function settingNamed(name: string): Setting {
  try {
    return findSetting(name);
  } catch (error) {
    if (error instanceof SettingError) throw new CliError(error.message, { exitCode: 2 });
    throw error;
  }
}

/**
 * A setting's value as given, or from the file that an @ stands before. A secret that comes from no file is read from
 * stdin or asked for: on the command line everybody on the machine could read it.
 */
export async function readValue(name: string, given: string | undefined): Promise<string> {
  const setting = settingNamed(name);
  if (given?.startsWith('@')) return readValueFile(given.slice(1));
  if (!setting.secret) {
    if (given !== undefined) return given;
    throw new CliError(`${name}: give a value, ${setting.allowed}`, { exitCode: 2 });
  }
  if (given === undefined) return readSecretText(name);
  throw new CliError(
    `${name} is a secret: leave it out to be asked for it, pipe it in, or name a file as @FILE`,
    { exitCode: 2 },
  );
}

function readValueFile(path: string): string {
  try {
    if (statSync(path).size > MAX_FILE_BYTES) throw new Error('it is over 64 KiB');
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CliError(`cannot read ${path}: ${why}`, { exitCode: 2, cause });
  }
}

/** Settings written as NAME=VALUE, of which NAME alone asks for a secret. Throws CliError for a name that comes twice. */
export async function readPairs(pairs: readonly string[]): Promise<Record<string, string>> {
  const values: Record<string, string> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const name = at < 0 ? pair : pair.slice(0, at);
    if (Object.hasOwn(values, name)) throw new CliError(`${name} comes twice`, { exitCode: 2 });
    values[name] = await readValue(name, at < 0 ? undefined : pair.slice(at + 1));
  }
  return values;
}

/** For an option that may come several times. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}
