import {
  CLUSTER_KEY_FILE,
  CLUSTER_KEY_HEADER,
  identifyKey,
  isKeyText,
  parseClusterKey,
} from './cluster-key.ts';
import { KeyError } from './key-error.ts';
import type { KeyPurpose } from './key-purpose.ts';
import { GENERATIONS_MAX, ringOf, type Generation, type KeyRing } from './key-ring.ts';
import type { KeyWrapping } from './key-wrapping.ts';
import { readKeyFile, writeKeyFile } from './private-file.ts';

const FORMAT = 'countersign-key-ring-1';
const FILE_MAX_BYTES = 256 * 1024;

/** What lies in the file; `keys` are base64url. */
type PlainRing = {
  format: string;
  active: string;
  generations: { id: string; madeAt: string; key?: string; derived?: Record<string, string> }[];
};
type WrappedRing = { format: string; wrappedBy: string; wrapped: string };

/**
 * Reads a cluster key file: a ring of generations, or the one key of a cluster that never changed it. `isWrapped`:
 * it lies there encrypted.
 * @throws KeyError as `readClusterKey`; `wrong_kek` when it is wrapped and `wrapping` is missing or another
 */
export async function readKeyRing(
  path: string,
  wrapping: KeyWrapping | null,
): Promise<{ ring: KeyRing; isWrapped: boolean }> {
  const text = readKeyFile(path, { what: CLUSTER_KEY_FILE, maxBytes: FILE_MAX_BYTES });
  const parsed = await parseKeyRing(text, { path, wrapping });
  if (parsed) return parsed;
  throw new KeyError(
    'malformed',
    `${CLUSTER_KEY_FILE} ${path} is not a "${CLUSTER_KEY_HEADER}" or "${FORMAT}" file`,
  );
}

/**
 * Replaces the file at once, or leaves it as it was; on the disk when this resolves.
 * @throws KeyError `unreadable` when it cannot be written
 */
export async function writeKeyRing(
  path: string,
  ring: KeyRing,
  wrapping: KeyWrapping | null,
): Promise<void> {
  const text = encodeKeyRing(ring);
  const lines = wrapping ? `${JSON.stringify(await wrap(text, wrapping))}\n` : text;
  writeKeyFile(path, lines, { what: CLUSTER_KEY_FILE, replace: true });
}

/** As it lies in a file that nothing wraps: secret. */
export function encodeKeyRing(ring: KeyRing): string {
  return `${JSON.stringify(describe(ring))}\n`;
}

/** What {@link encodeKeyRing} made; null for any other text. */
export function decodeKeyRing(text: string): KeyRing | null {
  return toRing(parseJson(text) as PlainRing | null);
}

async function wrap(text: string, wrapping: KeyWrapping): Promise<WrappedRing> {
  const wrapped = await wrapping.wrap(Buffer.from(text, 'utf8'));
  return { format: FORMAT, wrappedBy: wrapping.id, wrapped: wrapped.toString('base64url') };
}

async function parseKeyRing(
  text: string,
  { path, wrapping }: { path: string; wrapping: KeyWrapping | null },
): Promise<{ ring: KeyRing; isWrapped: boolean } | null> {
  const single = parseClusterKey(text);
  // When such a key was made stands nowhere.
  if (single) return { ring: ringOf(single, new Date(0).toISOString()), isWrapped: false };
  const outer = parseJson(text) as (PlainRing & Partial<WrappedRing>) | null;
  if (outer?.format !== FORMAT) return null;
  if (typeof outer.wrapped !== 'string') {
    const ring = toRing(outer);
    return ring && { ring, isWrapped: false };
  }
  if (!wrapping) {
    throw new KeyError(
      'wrong_kek',
      `${CLUSTER_KEY_FILE} ${path} is wrapped under the key-encryption key ${outer.wrappedBy}, and none is ` +
        'configured: set keys.kekFile or COUNTERSIGN_KEK',
    );
  }
  if (wrapping.id !== outer.wrappedBy) {
    throw new KeyError(
      'wrong_kek',
      `${CLUSTER_KEY_FILE} ${path} is wrapped under the key-encryption key ${outer.wrappedBy}, and the one ` +
        `configured is ${wrapping.id}`,
    );
  }
  const opened = await wrapping.unwrap(Buffer.from(outer.wrapped, 'base64url'));
  const ring = decodeKeyRing(opened.toString('utf8'));
  return ring && { ring, isWrapped: true };
}

function describe({ active, generations }: KeyRing): PlainRing {
  return {
    format: FORMAT,
    active,
    generations: generations.map(({ id, madeAt, bytes, derived }) =>
      bytes
        ? { id, madeAt, key: bytes.toString('base64url') }
        : {
            id,
            madeAt,
            derived: Object.fromEntries(
              Object.entries(derived).map(([purpose, key]) => [purpose, key.toString('base64url')]),
            ),
          },
    ),
  };
}

/** Null for what is no ring that could be used. */
function toRing(plain: PlainRing | null): KeyRing | null {
  if (plain?.format !== FORMAT || !Array.isArray(plain.generations)) return null;
  if (plain.generations.length === 0 || plain.generations.length > GENERATIONS_MAX) return null;
  const generations = plain.generations.map(toGeneration);
  if (!generations.every((generation) => generation !== null)) return null;
  const active = generations.find(({ id }) => id === plain.active);
  return active?.bytes ? { active: active.id, generations } : null;
}

function toGeneration(stored: PlainRing['generations'][number]): Generation | null {
  const { id, madeAt, key, derived } = stored;
  if (typeof id !== 'string' || !Number.isFinite(Date.parse(madeAt))) return null;
  if (typeof key === 'string') {
    const bytes = Buffer.from(key, 'base64url');
    return isKeyText(key) && identifyKey(bytes) === id ? { id, madeAt, bytes, derived: {} } : null;
  }
  if (typeof derived !== 'object' || !Object.values(derived).every(isKeyText)) return null;
  const keys = Object.entries(derived).map(([purpose, text]) => [
    purpose as KeyPurpose,
    Buffer.from(text, 'base64url'),
  ]);
  return { id, madeAt, bytes: null, derived: Object.fromEntries(keys) as Generation['derived'] };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
