import type { Command } from '@countersign/cluster';
import {
  beginAttempts,
  finishAttempts,
  type Database,
  type AuditEvent,
} from '@countersign/database';
import { v7 as uuidv7 } from 'uuid';
import type { Plan } from './commands/plan.ts';

export type PlannedChange = {
  command: Pick<Command, 'name' | 'actor'>;
  plan: Extract<Plan, { kind: 'change' }>;
};

/** Cluster and change events of this node's agent; one function each, written to the node's outbox. */
export class AgentEvents {
  readonly #db: Database;
  readonly #node: string;
  readonly #onError: (error: unknown) => void;

  constructor(db: Database, node: string, onError: (error: unknown) => void) {
    this.#db = db;
    this.#node = node;
    this.#onError = onError;
  }

  promoted(details: { epoch: number; revision: number }): void {
    this.#record({ type: 'cluster.promoted', details });
  }

  resigned(details: { why: string }): void {
    this.#record({ type: 'cluster.resigned', details });
  }

  handedOver(details: { to: string; by: string }): void {
    this.#record({ type: 'cluster.handed_over', actor: details.by, details });
  }

  diverged(details: {
    fromRevision: number;
    revision: number;
    changes: number;
    file: string;
  }): void {
    this.#record({ type: 'node.diverged', details });
  }

  nodeRemoved(details: { node: string; by: string }): void {
    this.#record({ type: 'cluster.node_removed', actor: details.by, details });
  }

  logMoved(details: { servers: string }): void {
    this.#record({ type: 'cluster.log_moved', details });
  }

  forced(details: { revision: number; incarnation: number }): void {
    this.#record({ type: 'cluster.forced', actor: 'operator at the node', details });
  }

  rejoined(details: { to: string; dropped: number; file: string }): void {
    this.#record({ type: 'node.rejoined', actor: 'operator at the node', details });
  }

  agentStarted(details: { version: string }): void {
    this.#record({ type: 'node.started', details });
  }

  /** Writes the audit rows of changes before they are sent; {@link finishChanges} completes them. */
  async beginChanges(changes: readonly PlannedChange[]): Promise<AuditEvent[]> {
    const begun = changes.map(({ command, plan }) =>
      this.#complete({
        type: command.name,
        actor: command.actor,
        userId: plan.event.userId,
        username: plan.event.username,
        details: { ...plan.event.details },
      }),
    );
    await beginAttempts(
      this.#db,
      begun.map((event) => ({ reservation: null, event, isFinal: false })),
    );
    return begun;
  }

  /** Those whose changes stand in the log, at these revisions. */
  async finishChanges(done: readonly { event: AuditEvent; revision: number }[]): Promise<void> {
    if (done.length === 0) return;
    await finishAttempts(
      this.#db,
      done.map(({ event, revision }) => {
        const details = { ...event.details, revision };
        return { event: { ...event, result: 'done', details } };
      }),
    );
  }

  #record(fields: Pick<AuditEvent, 'type'> & Partial<AuditEvent>): void {
    const event = this.#complete(fields);
    beginAttempts(this.#db, [{ reservation: null, event, isFinal: true }]).catch(this.#onError);
  }

  #complete(fields: Pick<AuditEvent, 'type'> & Partial<AuditEvent>): AuditEvent {
    return {
      id: uuidv7(),
      at: new Date().toISOString(),
      node: this.#node,
      userId: null,
      username: null,
      actor: null,
      application: null,
      clientAddress: null,
      result: null,
      reason: null,
      degraded: false,
      durationMs: null,
      details: {},
      ...fields,
    };
  }
}
