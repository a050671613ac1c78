import { createHash, hkdfSync, randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { KeyError } from './key-error.ts';

/** `id` (8 hex digits) may be shown and stored; `bytes` (32) never. */
export type ClusterKey = { id: string; bytes: Buffer };

const FILE_HEADER = 'countersign-cluster-key-1';
const FILE_MAX_BYTES = 1024;
const KEY_BYTES = 32;

/**
 * Makes a random cluster key and writes it to a new file only its owner can read.
 * The file appears whole or not at all, and never replaces one that is there.
 * @throws KeyError `exists`, or `unreadable` when the file cannot be written
 */
export function createClusterKeyFile(path: string): ClusterKey {
  const bytes = randomBytes(KEY_BYTES);
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    writeDurably(draft, `${FILE_HEADER} ${bytes.toString('base64url')}\n`);
    // Unlike a rename, a link fails when the name is taken: one creator wins, no reader sees half.
    linkSync(draft, path);
    syncDirectory(dirname(path));
  } catch (cause) {
    if (errorCode(cause) === 'EEXIST') {
      throw new KeyError('exists', `cluster key file ${path} already exists`, { cause });
    }
    throw new KeyError('unreadable', `cannot write cluster key file ${path}: ${says(cause)}`, {
      cause,
    });
  } finally {
    rmSync(draft, { force: true });
  }
  return { id: identify(bytes), bytes };
}

/**
 * Reads a file made by {@link createClusterKeyFile}.
 * @throws KeyError `missing`, `unreadable`, `unsafe_mode` (group or others have any right on it)
 *   or `malformed`
 */
export function readClusterKey(path: string): ClusterKey {
  const text = readPrivateFile(path);
  const [header, encoded = '', ...rest] = text.trimEnd().split(' ');
  const bytes = Buffer.from(encoded, 'base64url');
  const isWhole =
    header === FILE_HEADER &&
    rest.length === 0 &&
    bytes.length === KEY_BYTES &&
    bytes.toString('base64url') === encoded;
  if (!isWhole) {
    throw new KeyError('malformed', `cluster key file ${path} is not a "${FILE_HEADER}" file`);
  }
  return { id: identify(bytes), bytes };
}

function writeDurably(path: string, text: string): void {
  const file = openSync(path, 'wx', 0o600);
  try {
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

function readPrivateFile(path: string): string {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') {
      throw new KeyError('missing', `cluster key file ${path} does not exist`, { cause });
    }
    throw new KeyError('unreadable', `cannot read cluster key file ${path}: ${says(cause)}`, {
      cause,
    });
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size > FILE_MAX_BYTES) {
      throw new KeyError('malformed', `${path} is not a cluster key file`);
    }
    if ((stat.mode & 0o077) !== 0) {
      const mode = (stat.mode & 0o777).toString(8).padStart(4, '0');
      throw new KeyError(
        'unsafe_mode',
        `cluster key file ${path} has mode ${mode}, so others may read it: chmod 600 it`,
      );
    }
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

// The id goes through HKDF first, so that it says nothing about the key itself.
function identify(bytes: Buffer): string {
  const derived = hkdfSync('sha256', bytes, 'countersign', 'key-id', 32);
  return createHash('sha256').update(Buffer.from(derived)).digest('hex').slice(0, 8);
}

function errorCode(cause: unknown): unknown {
  return cause instanceof Error && 'code' in cause ? cause.code : undefined;
}

function says(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
