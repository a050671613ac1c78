import {
  chosenEventsFrom,
  findEvent,
  readApplied,
  readEventsEnd,
  readSettings,
  type Database,
  type EventCursor,
  type PlacedEvent,
} from '@countersign/database';
import type { MailMessage, Sender, SendResult } from '@countersign/delivery';
import type { Log } from '@countersign/cluster';
import {
  MAIL_RETRIES_MAX,
  type MailCursor,
  type MailJobDocument,
  type QueuedMail,
  type Settings,
} from '@countersign/verification';
import type { CommandKeys } from '../commands/plan.ts';
import type { AgentEvents } from '../events.ts';
import { mailSenderOf, type MailSender } from './mail-sender.ts';
import { isForAdministrators, MAIL_EVENTS, planMails, type PlannedMail } from './plan-mails.ts';

export type MailJobOptions = {
  db: Database;
  keys: CommandKeys;
  /** Takes every mail instead of the mail server. Only a demo has one. */
  outbox: Sender<MailMessage> | null;
  /** As it stands in this node's replica; null: there is none. */
  readJob(): Promise<MailJobDocument | null>;
  /** By a change of the master's own; false when it did not certainly happen. */
  writeJob(document: MailJobDocument): Promise<boolean>;
  events: Pick<AgentEvents, 'mailHandled' | 'mailsSkipped' | 'mailTurnedOff' | 'mailUnusable'>;
  log: Log;
  /** Unix milliseconds. */
  now?: () => number;
};

const SEND_TIMEOUT_MS = 20_000;
const EVENTS_AT_ONCE = 100;
const TOO_OLD_MS = 24 * 3_600_000;
const FIRST_PAUSE_MS = 60_000;
const LONGEST_PAUSE_MS = 6 * 3_600_000;
const ATTEMPTS_MAX = 12;
/** So many mails in a row without an answer to trust: the server is away, and new mails wait. */
const FAILURES_TO_WAIT = 3;
const LONGEST_WAIT_MS = 15 * 60_000;
/** A place behind events that called for no mail is kept this often at most. */
const KEEP_PLACE_MS = 10 * 60_000;
/** Whoever can lock people out could make administrators' mail useless. */
const ADMINISTRATOR_EVENTS_PER_HOUR = 50;

type Current = { settings: Settings; revision: number };
type Found = { mail: QueuedMail; planned: PlannedMail };

/**
 * The master's mailing. The event stream is the queue; one document holds the place in it, what is tried again and
 * what is being sent: written before a mail leaves, so that the next master knows of every mail whose outcome it
 * cannot know. Such a mail is sent again under the same Message-ID, and its event says so.
 */
export class MailJob {
  readonly #options: MailJobOptions;
  readonly #now: () => number;
  /** As it should stand in the log; null: to be read. */
  #job: MailJobDocument | null = null;
  #isUnwritten = false;
  /** Something came of a mail since it was last written. */
  #hasOutcome = false;
  /** What came of the mail sent last: that change may have failed, and not the mail. */
  #last: { id: string; result: SendResult } | null = null;
  /** Put down as being sent by a change that was not answered: it never left. */
  #unsent: string | null = null;
  /** The mails of the event at the place in the queue, planned once. */
  #planned: { eventId: string; revision: number; mails: (PlannedMail | null)[] } | null = null;
  #placeKeptAt: number;
  #current: Current | null = null;
  #settingsRevision = -1;
  /** The end of the stream when it was last seen without a mail server. */
  #endWhileOff: EventCursor | null = null;
  #told = '';
  #failuresInRow = 0;
  #waitUntil = 0;
  #administratorEvents: number[] = [];

  constructor(options: MailJobOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#placeKeptAt = this.#now();
  }

  /** Sends all there is to send now. Ends early with the signal, or when a change did not certainly happen. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const current = await this.#readSettings();
      const { settings } = current;
      const choice = this.#chooseSender(settings);
      this.#job ??= await this.#load();
      if (choice.kind !== 'sender') return this.#standStill(choice);
      if (!this.#job.cursor && !(await this.#begin())) return;
      const found = await this.#findNext(current);
      if (!found) return this.#keepPlace(current.revision);
      if (!(await this.#write())) return;
      await this.#send(found, choice.sender, { settings, signal });
    }
  }

  /** Before the first `run` of a mastership: what was known here may be history. */
  beginTerm(): void {
    this.#job = null;
    this.#last = null;
    this.#unsent = null;
    this.#planned = null;
    this.#settingsRevision = -1;
    this.#endWhileOff = null;
  }

  /** Read again only where a change of them was applied. */
  async #readSettings(): Promise<Current> {
    const { db } = this.#options;
    const applied = await readApplied(db);
    if (!this.#current || this.#current.revision !== applied?.settingsRevision) {
      this.#current = await readSettings(db);
    }
    return this.#current;
  }

  async #load(): Promise<MailJobDocument> {
    const stored = await this.#options.readJob();
    return stored ?? { id: 'mail', cursor: null, sending: null, retries: [] };
  }

  #chooseSender(settings: Settings): MailSender {
    const { outbox, keys } = this.#options;
    return outbox ? { kind: 'sender', sender: outbox } : mailSenderOf(settings, keys.seed);
  }

  /** Without a usable mail server: what happens now is never mailed, unless the settings are merely wrong. */
  async #standStill(choice: Exclude<MailSender, { kind: 'sender' }>): Promise<void> {
    const { db, log, events } = this.#options;
    const told = choice.kind === 'off' ? 'off' : choice.problem;
    const isNews = this.#told !== told;
    this.#told = told;
    if (choice.kind === 'unusable') {
      if (isNews) {
        log.warn({ problem: choice.problem }, 'the settings for mail cannot be used');
        events.mailUnusable({ problem: choice.problem });
      }
      return;
    }
    if (isNews) log.info({}, 'no mail is sent: mail.host is not set');
    this.#endWhileOff = await readEventsEnd(db);
    if (!this.#job?.cursor) return;
    const { sending, retries } = this.#job;
    this.#job = { id: 'mail', cursor: null, sending: null, retries: [] };
    if (!(await this.#write())) return;
    events.mailTurnedOff({ givenUp: retries.length + Number(sending !== null) });
  }

  /** The queue begins where the stream ended when there was no mail server yet. */
  async #begin(): Promise<boolean> {
    const end = this.#endWhileOff ?? (await readEventsEnd(this.#options.db));
    this.#job = { id: 'mail', cursor: { ...end, mails: null }, sending: null, retries: [] };
    return this.#write();
  }

  async #write(): Promise<boolean> {
    const isWritten = await this.#options.writeJob(this.#job!);
    this.#isUnwritten = false;
    this.#hasOutcome = false;
    this.#placeKeptAt = this.#now();
    if (isWritten) return true;
    // Whether it stands is for the log to say.
    this.#unsent = this.#job?.sending?.id ?? null;
    this.#job = null;
    this.#planned = null;
    return false;
  }

  /** Nothing to send. What was done is written; a mere place in the queue only now and then. */
  async #keepPlace(settingsRevision: number): Promise<void> {
    const isDue = this.#now() - this.#placeKeptAt > KEEP_PLACE_MS;
    // What other settings did not want mailed is not mailed by these.
    const isNewRevision =
      this.#settingsRevision !== -1 && this.#settingsRevision !== settingsRevision;
    this.#settingsRevision = settingsRevision;
    if (this.#isUnwritten && (this.#hasOutcome || isDue || isNewRevision)) await this.#write();
  }

  /** Puts the next mail down as being sent, in the document that is to be written. */
  async #findNext(current: Current): Promise<Found | null> {
    const begun = await this.#findBegun(current.settings);
    if (begun || this.#now() < this.#waitUntil) return begun;
    return (await this.#findDue(current.settings)) ?? (await this.#findNew(current));
  }

  /** What an earlier master, or a change that was not answered, left open. */
  async #findBegun(settings: Settings): Promise<Found | null> {
    const { sending } = this.#job!;
    if (!sending) return null;
    this.#change({ sending: null });
    if (this.#last?.id === sending.id) {
      this.#settle(sending, this.#last.result);
      return null;
    }
    const mayHaveArrived = sending.mayHaveArrived || this.#unsent !== sending.id;
    return this.#take({ ...sending, mayHaveArrived }, settings);
  }

  async #findDue(settings: Settings): Promise<Found | null> {
    for (const retry of this.#job!.retries) {
      if (Date.parse(retry.dueAt) > this.#now()) continue;
      this.#change({ retries: this.#job!.retries.filter((other) => other !== retry) });
      const { dueAt: _past, ...mail } = retry;
      const found = await this.#take(mail, settings);
      if (found) return found;
    }
    return null;
  }

  /** A mail known by its event, written anew. Null where it is not called for any more. */
  async #take(mail: QueuedMail, settings: Settings): Promise<Found | null> {
    const { db, keys, log } = this.#options;
    const event = await findEvent(db, { id: mail.event, at: mail.at });
    const mails = event ? await planMails(event, { db, keys, log, settings }) : [];
    const planned = mails.find((each) => each?.id === mail.id);
    if (planned && !this.#isTooOld(mail.at)) return this.#put(mail, planned);
    this.#hasOutcome = true;
    this.#options.events.mailsSkipped({ count: 1, reason: planned ? 'too_old' : 'not_wanted' });
    return null;
  }

  async #findNew(current: Current): Promise<Found | null> {
    for (;;) {
      const cursor = this.#job!.cursor!;
      const { events, end } = await chosenEventsFrom(this.#options.db, {
        ...MAIL_EVENTS,
        from: cursor,
        limit: EVENTS_AT_ONCE,
      });
      for (const event of events) {
        const isHere = isSamePlace(event, cursor);
        if (isHere && cursor.mails === null) continue;
        const begun = isHere ? (cursor.mails ?? 0) : 0;
        const mails = await this.#plan(event, current);
        const index = mails.findIndex((mail, at) => at >= begun && mail !== null);
        const planned = mails[index];
        const next = index + 1 < mails.length && planned ? index + 1 : null;
        this.#moveTo({ incarnation: event.incarnation, arrival: event.arrival, mails: next });
        if (!planned) continue;
        const mail = { id: planned.id, event: event.id, at: event.at };
        return this.#put({ ...mail, attempts: 0, mayHaveArrived: false }, planned);
      }
      if (isLater(end, this.#job!.cursor!)) this.#moveTo({ ...end, mails: null });
      if (events.length < EVENTS_AT_ONCE) return null;
    }
  }

  async #plan(
    event: PlacedEvent,
    { settings, revision }: Current,
  ): Promise<(PlannedMail | null)[]> {
    const known = this.#planned;
    if (known?.eventId === event.id && known.revision === revision) return known.mails;
    const { db, keys, events, log } = this.#options;
    const mails = await planMails(event, { db, keys, log, settings });
    const count = mails.filter((mail) => mail !== null).length;
    const reason = count > 0 && known?.eventId !== event.id ? this.#whyNot(event) : null;
    if (reason) events.mailsSkipped({ count, reason });
    this.#planned = { eventId: event.id, revision, mails: reason ? [] : mails };
    return this.#planned.mails;
  }

  #whyNot(event: PlacedEvent): string | null {
    if (this.#isTooOld(event.at)) return 'too_old';
    if (!isForAdministrators(event)) return null;
    const hourAgo = this.#now() - 3_600_000;
    this.#administratorEvents = this.#administratorEvents.filter((at) => at > hourAgo);
    if (this.#administratorEvents.length >= ADMINISTRATOR_EVENTS_PER_HOUR) return 'too_many';
    this.#administratorEvents.push(this.#now());
    return null;
  }

  #put(mail: QueuedMail, planned: PlannedMail): Found {
    const begun = { ...mail, attempts: mail.attempts + 1 };
    this.#change({ sending: begun });
    return { mail: begun, planned };
  }

  async #send(
    { mail, planned }: Found,
    sender: Sender<MailMessage>,
    { settings, signal }: { settings: Settings; signal: AbortSignal },
  ): Promise<void> {
    const { id, to, subject, text, situation, userId, username } = planned;
    const startedAt = performance.now();
    const message = { id, to, subject, text };
    const result = await sender.send(message, { timeoutMs: SEND_TIMEOUT_MS, signal });
    this.#last = { id, result };
    this.#change({ sending: null });
    const { outcome, dueAt } = this.#settle(mail, result);
    this.#options.events.mailHandled({
      userId,
      username,
      outcome,
      reason: result.sent ? null : result.reason,
      durationMs: Math.round(performance.now() - startedAt),
      details: {
        mail: id,
        situation,
        about: mail.event,
        attempt: mail.attempts,
        ...(settings.events.recordMail && { to }),
        ...(mail.mayHaveArrived && { sentAgain: 'an earlier answer was lost: it may come twice' }),
        ...(dueAt !== null && { againAt: dueAt }),
      },
    });
  }

  /** What becomes of a mail by its outcome, in the document that is to be written. */
  #settle(
    mail: QueuedMail,
    result: SendResult,
  ): { outcome: 'sent' | 'failed' | 'given_up'; dueAt: string | null } {
    this.#hasOutcome = true;
    const isAnswer = result.sent || result.outcome === 'refused' || result.isAnswer === true;
    this.#failuresInRow = isAnswer ? 0 : this.#failuresInRow + 1;
    const beyond = this.#failuresInRow - FAILURES_TO_WAIT;
    const waitMs = Math.min(FIRST_PAUSE_MS * 2 ** Math.max(beyond, 0), LONGEST_WAIT_MS);
    this.#waitUntil = beyond >= 0 ? this.#now() + waitMs : 0;
    if (result.sent) return { outcome: 'sent', dueAt: null };
    const { retries } = this.#job!;
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (mail.attempts - 1), LONGEST_PAUSE_MS);
    const dueMs = this.#now() + pauseMs;
    const isHopeless =
      result.outcome === 'refused' ||
      mail.attempts >= ATTEMPTS_MAX ||
      retries.length >= MAIL_RETRIES_MAX ||
      dueMs > Date.parse(mail.at) + TOO_OLD_MS;
    if (isHopeless) return { outcome: 'given_up', dueAt: null };
    const mayHaveArrived = mail.mayHaveArrived || result.outcome === 'unknown';
    const dueAt = new Date(dueMs).toISOString();
    this.#change({ retries: [...retries, { ...mail, mayHaveArrived, dueAt }] });
    return { outcome: 'failed', dueAt };
  }

  #moveTo(cursor: MailCursor): void {
    this.#change({ cursor });
  }

  #change(differs: Partial<MailJobDocument>): void {
    this.#job = { ...this.#job!, ...differs };
    this.#isUnwritten = true;
  }

  #isTooOld(at: string): boolean {
    return this.#now() - Date.parse(at) > TOO_OLD_MS;
  }
}

function isSamePlace(a: EventCursor, b: EventCursor): boolean {
  return a.incarnation === b.incarnation && a.arrival === b.arrival;
}

function isLater(a: EventCursor, b: EventCursor): boolean {
  return (
    a.incarnation > b.incarnation || (a.incarnation === b.incarnation && a.arrival > b.arrival)
  );
}
