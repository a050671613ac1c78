import { identifyKey } from './cluster-key.ts';
import { KeyError } from './key-error.ts';
import { readKeyFile } from './private-file.ts';
import { open, seal } from './seal.ts';

/**
 * What encrypts the ring in its file. A key in a file or in the environment is one; a PKCS#11 token or a key service
 * would be another, for nothing else of it is asked than these two functions.
 */
export type KeyWrapping = {
  /** Names the key-encryption key, in the file and in messages. */
  id: string;
  wrap(plain: Buffer): Promise<Buffer>;
  /** @throws KeyError `damaged` when it was altered or is another's */
  unwrap(wrapped: Buffer): Promise<Buffer>;
};

const KEK_MAX_BYTES = 1024;
const CONTEXT = 'key ring';

/** AES-256-GCM under a key-encryption key of 32 bytes. */
export function wrappingUnder(kek: Buffer): KeyWrapping {
  const key = { keyId: identifyKey(kek), key: kek };
  return {
    id: key.keyId,
    wrap: async (plain) => seal(key, plain, CONTEXT),
    unwrap: async (wrapped) => open(key, wrapped, CONTEXT),
  };
}

/**
 * The key-encryption key out of a file that only its owner may read.
 * @throws KeyError as for a cluster key file
 */
export function readKekFile(path: string): Buffer {
  const what = 'key-encryption key file';
  return parseKek(readKeyFile(path, { what, maxBytes: KEK_MAX_BYTES }), `${what} ${path}`);
}

/**
 * 32 bytes in base64url or hex, e.g. of `openssl rand -hex 32`.
 * @throws KeyError `malformed`, which names where the text stood and never the text
 */
export function parseKek(text: string, where: string): Buffer {
  const encoded = text.trim();
  const isHex = /^[0-9a-f]{64}$/i.test(encoded);
  const bytes = Buffer.from(encoded, isHex ? 'hex' : 'base64url');
  if (/^[\w-]+=?$/.test(encoded) && bytes.length === 32) return bytes;
  throw new KeyError(
    'malformed',
    `${where} does not hold 32 bytes as 64 hexadecimal digits or in base64url: ` +
      'make it with "openssl rand -hex 32"',
  );
}
