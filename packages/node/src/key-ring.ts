import { existsSync } from 'node:fs';
import { join } from 'node:path';

import {
  createClusterKeyFile,
  KeyError,
  makeGeneration,
  parseKek,
  readKekFile,
  readKeyRing,
  ringAsWanted,
  sealGeneration,
  wrappingUnder,
  writeKeyRing,
  type KeyRing,
  type KeyWrapping,
} from '@countersign/keys';
import { removeDrafts } from '@countersign/private-files';
import type {
  KeyRingMessage,
  KeyRingReport,
  SealedGeneration,
} from '@countersign/replication-agent';

import { ownLogServer, type NodeConfig } from './config.ts';
import { lockFolder } from './lock-folder.ts';
import { NodeError } from './node-error.ts';

const KEK_VARIABLE = 'COUNTERSIGN_KEK';

/** The node's key ring: what stands in its file, and the only one who writes there. */
export class KeptKeyRing {
  readonly #path: string;
  readonly #wrapping: KeyWrapping | null;
  #ring: KeyRing;
  #problem: string | null = null;
  #following: Promise<unknown> = Promise.resolve();

  private constructor(path: string, wrapping: KeyWrapping | null, ring: KeyRing) {
    this.#path = path;
    this.#wrapping = wrapping;
    this.#ring = ring;
  }

  /**
   * Reads the cluster key file, or makes it: only a node that begins a cluster does, one that is alone, or told to
   * found it, and holds no data yet. A plain file is wrapped where a key-encryption key is configured.
   * Throws NodeError, or KeyError for a file that cannot be used, which is left as it is.
   */
  static async prepare(config: NodeConfig): Promise<KeptKeyRing> {
    const { clusterKeyFile } = config;
    const wrapping = findWrapping(config);
    if (!existsSync(clusterKeyFile)) makeKeyFile(config);
    // They hold keys that may have been retired since.
    removeDrafts(clusterKeyFile);
    const { ring, isWrapped } = await readKeyRing(clusterKeyFile, wrapping);
    const kept = new KeptKeyRing(clusterKeyFile, wrapping, ring);
    if (wrapping && !isWrapped) await kept.replace(ring);
    return kept;
  }

  get ring(): KeyRing {
    return this.#ring;
  }

  /** What an agent may know of it. */
  get report(): KeyRingReport {
    const { active, generations } = this.#ring;
    return {
      active,
      generations: generations.map(({ id, madeAt, bytes }) => {
        return { id, madeAt, isRetired: bytes === null };
      }),
      problem: this.#problem,
    };
  }

  /** Kept by nobody: every supervisor, this one too, takes it from the cluster's document. */
  makeGeneration(): SealedGeneration {
    const generation = makeGeneration(new Date().toISOString());
    const { id, madeAt } = generation;
    return { id, madeAt, sealed: sealGeneration(this.#ring, generation).toString('base64') };
  }

  /** Makes the ring what the cluster's document says. False: it stays as it was, and the report says why. */
  async follow(document: KeyRingMessage['document']): Promise<boolean> {
    const result = this.#following.then(async () => {
      try {
        const ring = ringAsWanted(this.#ring, document);
        if (ring !== this.#ring) await this.replace(ring);
        this.#problem = null;
        return true;
      } catch (error) {
        if (!(error instanceof KeyError)) throw error;
        this.#problem = error.message;
        return false;
      }
    });
    this.#following = result.catch(() => undefined);
    return result;
  }

  /** On the disk before anybody may use it. Throws KeyError when it cannot be written: then the old ring stays. */
  async replace(ring: KeyRing): Promise<void> {
    await writeKeyRing(this.#path, ring, this.#wrapping);
    this.#ring = ring;
  }
}

/**
 * Writes the cluster key file of a node that does not run without its key-encryption key, for another one or none.
 * Throws KeyError where the present one is not the configured one, NodeError while the node runs.
 */
export async function unwrapKeyRing(config: NodeConfig): Promise<{ wasWrapped: boolean }> {
  const { dataDirectory, clusterKeyFile } = config;
  const lock = await lockFolder({ folder: dataDirectory, kind: 'supervisor' });
  try {
    const { ring, isWrapped } = await readKeyRing(clusterKeyFile, findWrapping(config));
    if (isWrapped) await writeKeyRing(clusterKeyFile, ring, null);
    return { wasWrapped: isWrapped };
  } finally {
    lock.release();
  }
}

/** Writes the cluster key file of a node that has just joined, encrypted where the configuration wants that. */
export async function installKeyRing(config: NodeConfig, ring: KeyRing): Promise<void> {
  await writeKeyRing(config.clusterKeyFile, ring, findWrapping(config));
}

/** Whoever read it is the last: what this process starts must not inherit the variable. */
function findWrapping(config: NodeConfig): KeyWrapping | null {
  const text = process.env[KEK_VARIABLE];
  delete process.env[KEK_VARIABLE];
  const { kekFile } = config.keys;
  if (text !== undefined && kekFile !== undefined) {
    throw new KeyError('wrong_kek', `give either ${KEK_VARIABLE} or keys.kekFile, not both`);
  }
  if (text !== undefined) return wrappingUnder(parseKek(text, KEK_VARIABLE));
  return kekFile === undefined ? null : wrappingUnder(readKekFile(kekFile));
}

function makeKeyFile(config: NodeConfig): void {
  const { clusterKeyFile, dataDirectory } = config;
  if (existsSync(join(dataDirectory, 'postgres'))) {
    throw new NodeError(
      `the cluster key ${clusterKeyFile} is missing, and nothing in ${dataDirectory} can be read ` +
        'without it: put it back',
    );
  }
  const isAlone = config.logServers.length === 1 && ownLogServer(config) !== undefined;
  if (!config.found && !isAlone) {
    throw new NodeError(
      `the cluster key ${clusterKeyFile} is missing: copy it from another node, ` +
        'or begin a new cluster here with "found": true',
    );
  }
  createClusterKeyFile(clusterKeyFile);
}
