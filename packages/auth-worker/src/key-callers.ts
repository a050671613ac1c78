import { ProblemError, type Caller, type Credentials } from '@countersign/api';
import { findApiKeys, type Database, type StoredApiKey } from '@countersign/database';
import { authenticateKey, hashApiKey } from '@countersign/operations';
import { Batcher } from './batcher.ts';
import type { DatabaseGate } from './database-gate.ts';

const MAX_REMEMBERED = 1000;

/**
 * Who an API key belongs to. A key is read at every request, so that a revoked one is refused at once. Where the
 * handler reads the replica anyway, a remembered key is taken first and confirmed by that read's revision.
 */
export class KeyCallers {
  readonly #read: Batcher<string, StoredApiKey | null>;
  readonly #remembered = new Map<string, StoredApiKey>();

  constructor(db: Database, gate: DatabaseGate) {
    this.#read = new Batcher((hashes: string[]) => gate.pass(() => findApiKeys(db, hashes)), 200);
  }

  async authenticate(credentials: Credentials): Promise<Caller | null> {
    const { bearer, remoteAddress, isConfirmedLater } = credentials;
    if (bearer === null) return null;
    const remembered = isConfirmedLater ? this.#remembered.get(hashApiKey(bearer)) : undefined;
    const find = async (hash: string) =>
      (remembered ?? (await this.#readNow(hash)))?.document ?? null;
    const key = await authenticateKey(find, bearer, remoteAddress, Date.now());
    if (!key) return null;
    return {
      id: key.id,
      name: key.name,
      scopes: new Set(key.scopes),
      applications: key.applications,
      proof: { kind: 'api-key', secret: bearer, remoteAddress },
      ...(remembered && {
        isStillValid: async (revision: number) => {
          if (remembered.revision === revision) return true;
          const now = await this.#readNow(hashApiKey(bearer));
          return now !== null && JSON.stringify(now.document) === JSON.stringify(key);
        },
      }),
    };
  }

  async #readNow(secretHash: string): Promise<StoredApiKey | null> {
    const key = await this.#read.add(secretHash).catch((cause: unknown) => {
      // Another node can serve this caller: a load balancer goes there on 503.
      throw new ProblemError(503, 'not_ready', "This node's PostgreSQL does not answer.", {
        cause,
      });
    });
    if (!key) this.#remembered.delete(secretHash);
    else if (this.#remembered.size < MAX_REMEMBERED || this.#remembered.has(secretHash)) {
      this.#remembered.set(secretHash, key);
    }
    return key;
  }
}
