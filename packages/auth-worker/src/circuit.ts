import { openCircuit, type Database } from '@countersign/database';
import type { Logger } from 'pino';
import type { DatabaseGate } from './database-gate.ts';
import type { WorkerEvents } from './events.ts';

/** Silence for this many different users opens the circuit: one user alone never can. */
const USERS_TO_OPEN = 3;
const MAX_REMEMBERED = 100;

/**
 * Notices that the user states do not answer. Only transport failures count; a lost compare-and-set is an answer.
 * Closing it, after the merge, is merge-claims.ts.
 */
export class Circuit {
  readonly #db: Database;
  readonly #gate: DatabaseGate;
  readonly #log: Logger;
  readonly #events: WorkerEvents;
  readonly #silentUsers = new Set<string>();

  constructor(options: { db: Database; gate: DatabaseGate; events: WorkerEvents; log: Logger }) {
    this.#db = options.db;
    this.#gate = options.gate;
    this.#events = options.events;
    this.#log = options.log;
  }

  noteAnswer(): void {
    this.#silentUsers.clear();
  }

  async noteSilence(userId: string, why: string): Promise<void> {
    if (this.#silentUsers.size < MAX_REMEMBERED) this.#silentUsers.add(userId);
    if (this.#silentUsers.size < USERS_TO_OPEN) return;
    // Those that opened it are not there to open it once more after it was closed.
    this.#silentUsers.clear();
    await this.#gate.pass(() => this.#open(why));
  }

  async #open(why: string): Promise<void> {
    if (!(await openCircuit(this.#db, why))) return;
    this.#log.warn({ why }, 'circuit opened: verifying without the quorum');
    await this.#events.circuitOpened({ why });
  }
}
