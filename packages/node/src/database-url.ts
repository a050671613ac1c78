import { readFileSync } from 'node:fs';

import { NodeError } from './node-error.ts';
import { hostOf, isLoopback } from './url-host.ts';
import type { DatabaseAddress } from './start-engines.ts';

/** A PostgreSQL that the operator runs; paths are absolute. */
export interface OwnDatabase {
  url: string;
  passwordFile?: string | undefined;
  authorityFile?: string | undefined;
}

/**
 * What is wrong with `database` of a configuration, in words; null: nothing. Over a network only encrypted, and only
 * to a server whose certificate is checked (sslmode verify-full, the default): anything less hands the password to
 * whoever is in between.
 */
export function flawOfDatabaseUrl(
  text: string,
  files: Pick<OwnDatabase, 'passwordFile' | 'authorityFile'>,
): string | null {
  const url = new URL(text);
  const options = [...url.searchParams.keys()];
  const unknown = options.find((name) => name !== 'sslmode');
  if (unknown) return `takes no ${unknown}, only sslmode`;
  if (!url.hostname || !url.username || url.pathname.length < 2) {
    return 'must be postgres://USER@HOST[:PORT]/DATABASE';
  }
  if (url.password && files.passwordFile) return 'holds a password, and there is a passwordFile';
  const mode = url.searchParams.get('sslmode') ?? 'verify-full';
  if (mode === 'verify-full') {
    return files.authorityFile ? null : 'needs authorityFile, the PEM of who signs its certificate';
  }
  if (mode !== 'disable') return `sslmode must be verify-full, or disable on loopback`;
  if (files.authorityFile) return 'has sslmode=disable, and there is an authorityFile';
  if (isLoopback(hostOf(url))) return null;
  return `sslmode=disable is for loopback only (127.x.x.x or [::1]): ${url.hostname} is not`;
}

/** Reads the files that `database` names. Throws NodeError naming the one that cannot be read. */
export function readDatabaseAddress(database: OwnDatabase): DatabaseAddress {
  const url = new URL(database.url);
  const { passwordFile, authorityFile } = database;
  const password = passwordFile
    ? read('database.passwordFile', passwordFile).replace(/\r?\n$/, '')
    : decodeURIComponent(url.password);
  return {
    host: hostOf(url),
    port: Number(url.port || 5432),
    user: decodeURIComponent(url.username),
    database: decodeURIComponent(url.pathname.slice(1)),
    ...(password && { password }),
    ...(authorityFile && { authority: read('database.authorityFile', authorityFile) }),
  };
}

function read(key: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new NodeError(`${key}: cannot read ${file} (${code})`, { cause });
  }
}
