import { createHash, hkdfSync, randomBytes } from 'node:crypto';
import { KeyError } from './key-error.ts';
import { readKeyFile, writeKeyFile } from './private-file.ts';

/** `id` (8 hex digits) may be shown and stored; `bytes` (32) never. */
export type ClusterKey = { id: string; bytes: Buffer };

/** What begins the file of a cluster whose key was never changed. */
export const CLUSTER_KEY_HEADER = 'countersign-cluster-key-1';
export const CLUSTER_KEY_FILE = 'cluster key file';

const FILE_MAX_BYTES = 1024;
const KEY_BYTES = 32;

/**
 * Makes a random cluster key and writes it to a new file only its owner can read.
 * The file appears whole or not at all, and never replaces one that is there.
 * @throws KeyError `exists`, or `unreadable` when the file cannot be written
 */
export function createClusterKeyFile(path: string): ClusterKey {
  const key = makeClusterKey();
  const text = `${CLUSTER_KEY_HEADER} ${key.bytes.toString('base64url')}\n`;
  writeKeyFile(path, text, { what: CLUSTER_KEY_FILE, replace: false });
  return key;
}

/**
 * Reads a file made by {@link createClusterKeyFile}.
 * @throws KeyError `missing`, `unreadable`, `unsafe_mode` (group or others have any right on it)
 *   or `malformed`
 */
export function readClusterKey(path: string): ClusterKey {
  const text = readKeyFile(path, { what: CLUSTER_KEY_FILE, maxBytes: FILE_MAX_BYTES });
  const key = parseClusterKey(text);
  if (key) return key;
  throw new KeyError(
    'malformed',
    `${CLUSTER_KEY_FILE} ${path} is not a "${CLUSTER_KEY_HEADER}" file`,
  );
}

/** Null for any other text. */
export function parseClusterKey(text: string): ClusterKey | null {
  const [header, encoded = '', ...rest] = text.trimEnd().split(' ');
  if (header !== CLUSTER_KEY_HEADER || rest.length > 0) return null;
  const bytes = Buffer.from(encoded, 'base64url');
  return isKeyText(encoded) ? { id: identifyKey(bytes), bytes } : null;
}

export function makeClusterKey(): ClusterKey {
  const bytes = randomBytes(KEY_BYTES);
  return { id: identifyKey(bytes), bytes };
}

/** Whether it is 32 bytes in base64url, written in the one way there is. */
export function isKeyText(encoded: string): boolean {
  const bytes = Buffer.from(encoded, 'base64url');
  return bytes.length === KEY_BYTES && bytes.toString('base64url') === encoded;
}

/** The id goes through HKDF first, so that it says nothing about the key itself. */
export function identifyKey(bytes: Buffer): string {
  const derived = hkdfSync('sha256', bytes, 'countersign', 'key-id', 32);
  return createHash('sha256').update(Buffer.from(derived)).digest('hex').slice(0, 8);
}
