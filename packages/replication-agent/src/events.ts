import type { Command } from '@countersign/cluster';
import {
  beginAttempts,
  finishAttempts,
  type Database,
  type AuditEvent,
} from '@countersign/database';
import { newEvent } from '@countersign/operations';
import { deriveId } from './commands/derive-id.ts';
import type { Plan, PlannedEvent } from './commands/plan.ts';
import { describeSlice } from './directory/describe-slice.ts';
import type { PlannedChange } from './directory/plan-slice.ts';

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

  nodeRemoved(details: {
    node: string;
    by: string;
    reason?: string;
    isOnline: boolean;
    isLogServer: boolean;
    joinTokensRevoked: number;
    /** Names. */
    invitationsEnded: string;
  }): void {
    this.#record({ type: 'cluster.node_removed', actor: details.by, details });
  }

  keyRotationBegan(details: { from: string; to: string; reason: string; by: string }): void {
    this.#record({ type: 'keys.rotation_began', actor: details.by, details });
  }

  /** Every node has the new generation: everything is sealed under it from here on. */
  keyActivated(details: { from: string; to: string }): void {
    this.#record({ type: 'keys.activated', details });
  }

  /** Nothing is left under the old generation. */
  keyRetired(details: { from: string; to: string }): void {
    this.#record({ type: 'keys.retired', details });
  }

  logMoved(details: { servers: string }): void {
    this.#record({ type: 'cluster.log_moved', details });
  }

  /** `missed`: why its log server may have held more than was taken over. */
  forced(details: { revision: number; incarnation: number; missed: string | null }): void {
    this.#record({ type: 'cluster.forced', actor: 'operator at the node', details });
  }

  rejoined(details: { to: string; dropped: number; file: string }): void {
    this.#record({ type: 'node.rejoined', actor: 'operator at the node', details });
  }

  agentStarted(details: { version: string }): void {
    this.#record({ type: 'node.started', details });
  }

  /** Old events went, as the setting `events.retentionDays` wants it. */
  eventsDropped(details: { before: string; days: number; farEvents: number }): void {
    this.#record({ type: 'events.dropped', details });
  }

  /** Somebody who would be, or is, signed in as an administrator. */
  administratorJudged(
    told: Pick<AuditEvent, 'type' | 'actor' | 'clientAddress' | 'result' | 'reason' | 'details'>,
  ): void {
    this.#record(told);
  }

  /** Everything the cluster has went into a file, or to whoever sits at the machine. */
  backedUp(told: {
    /** Null: the node itself, as it was told to. */
    by: string | null;
    to: string;
    revision: number;
    withEvents: boolean;
    sizeBytes?: number;
    reason: string | null;
  }): void {
    const { by, ...details } = told;
    this.#record({ type: 'node.backed_up', result: 'done', actor: by, details });
  }

  backupFailed(details: { to: string; problem: string }): void {
    this.#record({ type: 'node.backup_failed', result: 'failed', details });
  }

  /** To make room for newer ones. */
  backupsRemoved(details: { files: string[] }): void {
    this.#record({ type: 'node.backups_removed', details });
  }

  tablesDiffer(details: { revision: number; problem: string }): void {
    this.#record({ type: 'node.tables_differ', details });
  }

  tablesMatch(details: { revision: number }): void {
    this.#record({ type: 'node.tables_match', details });
  }

  /** What came of a mail: `failed` is tried again. It holds no text, and the address only where that is wanted. */
  mailHandled(told: {
    userId: string | null;
    username: string | null;
    outcome: 'sent' | 'failed' | 'given_up';
    reason: string | null;
    durationMs: number;
    details: Record<string, unknown>;
  }): void {
    const { outcome, ...fields } = told;
    this.#record({ type: `mail.${outcome}`, result: outcome, ...fields });
  }

  /** Mails that were called for and are not sent. */
  mailsSkipped(details: { count: number; reason: string }): void {
    this.#record({ type: 'mail.skipped', reason: details.reason, details });
  }

  mailTurnedOff(details: { givenUp: number }): void {
    this.#record({ type: 'mail.turned_off', details });
  }

  mailUnusable(details: { problem: string }): void {
    this.#record({ type: 'mail.unusable', details });
  }

  /** Writes the audit row of a change before it is sent; the returned function completes it. */
  async beginChange(
    command: Command,
    plan: Extract<Plan, { kind: 'change' }>,
  ): Promise<(revision: number) => Promise<void>> {
    const finish = await this.#begin({
      type: plan.event.type ?? command.name,
      actor: command.actor,
      userId: plan.event.userId,
      username: plan.event.username,
      details: { ...plan.event.details },
    });
    return (revision) => finish({ revision });
  }

  /** Of what is to be told though it changed nothing; a repeat of the command is the same event. */
  async recordUnchanged(command: Command, planned: PlannedEvent): Promise<void> {
    const { type = command.name, userId, username, details = {} } = planned;
    const event = this.#complete({
      id: deriveId(command.commandId, 'event'),
      type,
      actor: command.actor,
      userId,
      username,
      result: 'done',
      details,
    });
    await beginAttempts(this.#db, [{ reservation: null, event, isFinal: true }]);
  }

  /**
   * One row for all users that are sent together: a row each would push what others did out of the event stream.
   * The returned function takes the ids of those that were added.
   */
  async beginBulk(
    actor: string,
    count: number,
  ): Promise<(added: { userIds: string[]; lastRevision: number }) => Promise<void>> {
    const finish = await this.#begin({ type: 'user.add-many', actor, details: { count } });
    return ({ userIds, lastRevision }) => finish({ userIds, revision: lastRevision });
  }

  /**
   * Of users that a directory changes together: one row for all of them, and one for each that is disabled, removed or
   * given another phone, so that it can be told who was and why. New users that are to be told are named in a row of
   * their own. The returned function completes them.
   */
  async beginDirectorySlice({
    directory,
    actor,
    changes,
  }: {
    directory: { name: string };
    actor: string;
    changes: readonly PlannedChange[];
  }): Promise<(lastRevision: number) => Promise<void>> {
    const events = describeSlice(directory.name, changes).map((fields) =>
      this.#complete({ ...fields, actor }),
    );
    const begun = events.map((event) => ({ reservation: null, event, isFinal: false }));
    await beginAttempts(this.#db, begun);
    return async (revision) => {
      const done = events.map((event) => {
        return { event: { ...event, result: 'done', details: { ...event.details, revision } } };
      });
      await finishAttempts(this.#db, done);
    };
  }

  /** More than may be done without an administrator. It names no users. */
  directoryHeld(details: {
    directory: string;
    hash: string;
    count: number;
    of: number;
    limit: number;
  }): void {
    this.#record({ type: 'directory.held', result: 'held', details });
  }

  /** A phone was told that another number takes its place. */
  oldNumberTold({
    outcome,
    ...user
  }: {
    userId: string;
    username: string;
    outcome: 'sent' | 'failed' | 'nobody';
  }): void {
    this.#record({ type: 'directory.old_number_told', result: outcome, ...user });
  }

  directoryFailed(details: { directory: string; problem: string }): void {
    this.#record({ type: 'directory.sync_failed', result: 'failed', details });
  }

  async #begin(fields: Pick<AuditEvent, 'type'> & Partial<AuditEvent>) {
    const event = this.#complete(fields);
    await beginAttempts(this.#db, [{ reservation: null, event, isFinal: false }]);
    return async (more: Record<string, unknown>) => {
      const details = { ...event.details, ...more };
      await finishAttempts(this.#db, [{ event: { ...event, result: 'done', details } }]);
    };
  }

  #record(fields: Pick<AuditEvent, 'type'> & Partial<AuditEvent>): void {
    const event = this.#complete(fields);
    beginAttempts(this.#db, [{ reservation: null, event, isFinal: true }]).catch(this.#onError);
  }

  #complete(fields: Pick<AuditEvent, 'type'> & Partial<AuditEvent>): AuditEvent {
    return newEvent({ node: this.#node, ...fields });
  }
}
