import type { Log } from '@countersign/cluster';
import { readSettings, type Applied, type Database } from '@countersign/database';

type Policy = { mode: 'automatic' | 'manual'; afterMs: number };

/** How the cluster replaces a lost master, as this node's settings say it. */
export class FailoverPolicy {
  readonly #db: Database;
  readonly #log: Log;
  #current: Policy = { mode: 'automatic', afterMs: 6000 };
  #readAt = -1;

  constructor(db: Database, log: Log) {
    this.#db = db;
    this.#log = log;
  }

  get current(): Policy {
    return this.#current;
  }

  /** Reads the settings where `applied` has newer ones; what cannot be read is tried again at the next call. */
  refresh({ settingsRevision }: Applied): void {
    if (this.#readAt === settingsRevision) return;
    this.#readAt = settingsRevision;
    readSettings(this.#db).then(
      ({ settings: { failover } }) => {
        this.#current = { mode: failover.mode, afterMs: failover.afterSeconds * 1000 };
      },
      (error: unknown) => {
        this.#readAt = -1;
        this.#log.warn({ error: String(error) }, 'settings could not be read');
      },
    );
  }
}
