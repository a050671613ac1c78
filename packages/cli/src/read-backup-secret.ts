import { readFileSync } from 'node:fs';
import type { OpenWith, SealTo } from '@countersign/backup';
import { CliError } from './cli-error.ts';
import { readNewSecret, readSecret } from './read-input.ts';

type SecretOptions = { passphraseFile?: string };
export type SealOptions = SecretOptions & { recipient?: string };
export type OpenOptions = SecretOptions & { identityFile?: string };

const VARIABLE = 'COUNTERSIGN_BACKUP_PASSPHRASE';
const MAX_BYTES = 16 * 1024;

/**
 * What a new backup is encrypted to: a public key, or the passphrase in a file, in the environment or on stdin, where it
 * is typed twice at a terminal; never on the command line.
 */
export async function readSealTo(options: SealOptions): Promise<SealTo> {
  const { recipient, passphraseFile } = options;
  if (recipient !== undefined) {
    if (passphraseFile === undefined) return { recipient };
    throw new CliError('give --recipient or --passphrase-file, not both', { exitCode: 2 });
  }
  return { passphrase: passphraseNamed(options) ?? (await readNewSecret('passphrase')) };
}

/** What opens a backup: an identity in a file, or the passphrase as {@link readSealTo} reads it. */
export async function readOpenWith(options: OpenOptions): Promise<OpenWith> {
  const { identityFile, passphraseFile } = options;
  if (identityFile !== undefined) {
    if (passphraseFile === undefined) return { identity: readSmallFile(identityFile) };
    throw new CliError('give --identity-file or --passphrase-file, not both', { exitCode: 2 });
  }
  return { passphrase: passphraseNamed(options) ?? (await readSecret('passphrase')) };
}

function passphraseNamed({ passphraseFile }: SecretOptions): string | null {
  const text = passphraseFile === undefined ? process.env[VARIABLE] : readSmallFile(passphraseFile);
  if (text === undefined) return null;
  const [passphrase = ''] = text.split(/\r?\n/, 1);
  if (passphrase !== '') return passphrase;
  throw new CliError(`${passphraseFile ?? VARIABLE} holds no passphrase`, { exitCode: 2 });
}

function readSmallFile(path: string): string {
  try {
    const text = readFileSync(path, 'utf8');
    if (text.length <= MAX_BYTES) return text;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CliError(`cannot read ${path} (${code})`, { exitCode: 2, cause });
  }
  throw new CliError(`${path} is too large to hold a passphrase or an identity`, { exitCode: 2 });
}
