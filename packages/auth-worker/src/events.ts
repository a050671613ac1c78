import { beginAttempts, type AuditEvent, type Database } from '@countersign/database';
import { newEvent } from '@countersign/operations';

/** Events of this node's workers besides verifications; one function each, written to the node's outbox. */
export class WorkerEvents {
  readonly #db: Database;
  readonly #node: string;

  constructor(db: Database, node: string) {
    this.#db = db;
    this.#node = node;
  }

  async circuitOpened(details: { why: string }): Promise<void> {
    await this.#record('circuit.opened', details);
  }

  async circuitClosed(details: { openSince: string }): Promise<void> {
    await this.#record('circuit.closed', details);
  }

  async #record(type: string, details: AuditEvent['details']): Promise<void> {
    const event = newEvent({ type, node: this.#node, degraded: true, details });
    await beginAttempts(this.#db, [{ reservation: null, event, isFinal: true }]);
  }
}
