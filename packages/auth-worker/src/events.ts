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
    await this.#record({ type: 'circuit.opened', degraded: true, details });
  }

  async circuitClosed(details: { openSince: string }): Promise<void> {
    await this.#record({ type: 'circuit.closed', degraded: true, details });
  }

  /** `level`: four fifths of a limit, or all of it; from then on texts are refused. */
  async textBudgetAlarm(details: {
    limit: 'prefix' | 'node';
    level: 'nearly' | 'reached';
    perHour: number;
    /** The numbers texted, without their last four digits. */
    prefix?: string;
  }): Promise<void> {
    await this.#record({ type: 'text.budget_alarm', details });
  }

  /** What a provider says became of a text. `id` follows from what it says: told twice, it is one event. */
  async textStatus(
    id: string,
    details: { provider: string; messageId: string; status: string; errorCode?: number },
  ): Promise<void> {
    await this.#record({ id, type: 'text.status', result: details.status, details });
  }

  /** Somebody's session at a RADIUS client, as that tells it. `id` follows from what it says: told twice, it is one event. */
  async radiusAccounting(
    id: string,
    about: {
      client: string;
      application: string;
      who: Pick<AuditEvent, 'userId' | 'username'> | null;
      details: Record<string, string | number | undefined>;
    },
  ): Promise<void> {
    const { client: actor, application, who, details } = about;
    await this.#record({ id, type: 'radius.accounting', actor, application, ...who, details });
  }

  async #record(fields: Pick<AuditEvent, 'type'> & Partial<AuditEvent>): Promise<void> {
    const event = newEvent({ node: this.#node, ...fields });
    await beginAttempts(this.#db, [{ reservation: null, event, isFinal: true }]);
  }
}
