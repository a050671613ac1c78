import type { RadiusTest, RadiusTestReport } from '@countersign/api';
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

  /** A sign-in that somebody tried as a RADIUS client; the verification has an event of its own, which says so too. */
  async radiusTested(
    { client, id, from, actor }: Pick<RadiusTest, 'client' | 'id' | 'from' | 'actor'>,
    { outcome, reason, tookMs }: Pick<RadiusTestReport, 'outcome' | 'reason' | 'tookMs'>,
  ): Promise<void> {
    await this.#record({
      type: 'radius.tested',
      actor,
      application: client.application,
      result: outcome,
      reason,
      durationMs: Math.round(tookMs),
      // The name that was typed may be a password: it is in the verification's event, as names are there.
      details: { radiusClient: client.name, test: id, ...(from !== null && { from }) },
    });
  }

  async #record(fields: Pick<AuditEvent, 'type'> & Partial<AuditEvent>): Promise<void> {
    const event = newEvent({ node: this.#node, ...fields });
    await beginAttempts(this.#db, [{ reservation: null, event, isFinal: true }]);
  }
}
