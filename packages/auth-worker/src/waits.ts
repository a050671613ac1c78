import { setTimeout as sleep } from 'node:timers/promises';
import { retryJitterMs, type Asks, type UserStates } from '@countersign/cluster';
import {
  claimsOf,
  findAnsweredWaits,
  readUserState,
  settleForeign,
  type Database,
} from '@countersign/database';
import {
  answerWait,
  defaultSettings,
  emptyState,
  encodeState,
  mergeClaims,
  parseState,
  questionKey,
  waitOfQuestion,
  withdrawWait,
  answerOf,
  challengeOutcome,
  type Method,
  type UserDocument,
  type UserState,
  type WaitAnswer,
} from '@countersign/verification';
import type { Logger } from 'pino';
import { OverloadError } from './batcher.ts';
import type { Circuit } from './circuit.ts';
import type { DatabaseGate } from './database-gate.ts';
import { readMostKnown } from './most-known.ts';

/** What somebody is asked on a phone or the like. */
export type AskedElsewhere = {
  /** Of the question; its answer names it. */
  id: string;
  user: UserDocument;
  method: Method;
  mode: string;
  application: string | null;
  /** Who lets that person in. */
  client: string;
  /** Unix ms. */
  until: number;
};

/** The methods whose answer comes from elsewhere: what they need of the world outside. */
export type MethodsElsewhere = {
  /** By which this user can be asked now. */
  of(user: UserDocument): readonly Method[];
  /** Ends when it is on its way, or did not get there; has a deadline of its own. `details` go into the event. */
  ask(asked: AskedElsewhere): Promise<{ sent: boolean; details: Record<string, unknown> }>;
  /** Nobody waits for the answer any more. Must not throw. */
  cancel(questionId: string): void;
};

export type WaitsOptions = {
  node: string;
  db: Database;
  gate: DatabaseGate;
  states: UserStates;
  asks: Asks;
  circuit: Circuit;
  log: Pick<Logger, 'warn'>;
};

export type WaitedQuestion = { userId: string; questionId: string };
/** `gone`: whoever asked waits no more. `over`: its time is up. */
export type WaitEnd = 'answered' | 'over' | 'gone';

type Waiting = WaitedQuestion & { key: string; lookAt: number; end: (how: WaitEnd) => void };

/** Answers reach this node's PostgreSQL with the user's state, which takes about as long. */
const LOOK_MS = 400;
/** The log's own word, should that copy stand still: while what came of it is still told again (security rule 8). */
const ASK_LOG_MS = 7000;
const READ_MS = 1000;
const WRITE_MS = 700;
const DIRECT_GET_MS = 100;
const MAX_LOST_CAS = 4;
const MAX_WAITING = 8192;

/**
 * Answers that come from elsewhere, and those on this worker who wait for them. An answer is recorded in the user's
 * state wherever it arrives; who waits sees it there, and hands out what came of it once.
 */
export class Waits {
  readonly #options: WaitsOptions;
  readonly #waiting = new Set<Waiting>();
  #looking: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: WaitsOptions) {
    this.#options = options;
  }

  /** Ends at `untilMs` (Unix) at the latest. Throws OverloadError where too many wait already. */
  async until(question: WaitedQuestion, untilMs: number, signal: AbortSignal): Promise<WaitEnd> {
    if (signal.aborted) return 'gone';
    if (this.#waiting.size >= MAX_WAITING) throw new OverloadError('too many wait for an answer');
    const { promise, resolve } = Promise.withResolvers<WaitEnd>();
    const lookAt = performance.now() + ASK_LOG_MS;
    const waiting = { ...question, key: questionKey(question.questionId), lookAt, end: resolve };
    const give = () => resolve('gone');
    const timer = setTimeout(() => resolve('over'), Math.max(0, untilMs - Date.now()));
    signal.addEventListener('abort', give, { once: true });
    this.#waiting.add(waiting);
    this.#lookSoon();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', give);
      this.#waiting.delete(waiting);
    }
  }

  /**
   * What somebody answered, checked by whoever received it. The first answer counts; `over`: nobody waits for it any
   * more. Throws when PostgreSQL does not answer.
   */
  async answer(question: WaitedQuestion, answer: WaitAnswer): Promise<'taken' | 'over'> {
    const { states, circuit, gate, db } = this.#options;
    const { userId, questionId } = question;
    let known: UserState | null = null;
    for (let lost = 0; lost <= MAX_LOST_CAS; lost += 1) {
      const read = await states.readThroughLeader(userId, WRITE_MS);
      if (read.kind === 'silent') {
        await circuit.noteSilence(userId, read.why);
        return this.#answerAlone(question, answer);
      }
      const state =
        read.kind === 'found'
          ? parseState(read.bytes)
          : ((await gate.pass(() => readUserState(db, userId)))?.state ?? emptyState());
      known = state;
      const answered = answerWait(state, { questionId, answer, nowMs: Date.now() });
      // Begun without the quorum, and not merged yet.
      if (answered.kind === 'over') return this.#answerAlone(question, answer, state);
      if (answered.kind !== 'answered') return 'taken';
      const revision = read.kind === 'found' ? read.revision : 0;
      const bytes = encodeState(answered.next);
      const outcome = await states.write(userId, bytes, revision, WRITE_MS);
      if (outcome.kind === 'written') {
        this.#noteAnswered(question);
        return 'taken';
      }
      if (outcome.kind === 'silent') {
        await circuit.noteSilence(userId, outcome.why);
        return this.#answerAlone(question, answer);
      }
      await sleep(retryJitterMs());
    }
    // Others write there all the time: a claim takes part in their writes.
    return this.#answerAlone(question, answer, known);
  }

  /**
   * Of a question that reached nobody: whoever signs in again is asked again. Where the log is silent, or others write
   * all the time, it is left to run out.
   */
  async withdraw({ userId, questionId }: WaitedQuestion): Promise<void> {
    const { states } = this.#options;
    for (let lost = 0; lost <= MAX_LOST_CAS; lost += 1) {
      const read = await states.readThroughLeader(userId, WRITE_MS);
      if (read.kind !== 'found') return;
      const next = withdrawWait(parseState(read.bytes), { questionId, nowMs: Date.now() });
      if (!next) return;
      const outcome = await states.write(userId, encodeState(next), read.revision, WRITE_MS);
      if (outcome.kind !== 'conflict') return;
      await sleep(retryJitterMs());
    }
  }

  /** Without the quorum, or of a sign-in that began without it: a claim here, told to all who can be reached. */
  async #answerAlone(
    question: WaitedQuestion,
    answer: WaitAnswer,
    told: UserState | null = null,
  ): Promise<'taken' | 'over'> {
    const { db, gate, asks, node } = this.#options;
    const { userId, questionId } = question;
    const nowMs = Date.now();
    const state = told ? await this.#withClaims(userId, told) : await this.#mostKnown(userId);
    const answered = answerWait(state, { questionId, answer, nowMs });
    if (answered.kind !== 'answered') return answered.kind === 'repeated' ? 'taken' : 'over';
    const { wait } = answered;
    const attemptId = `wait ${questionId}`;
    const key = { userId, item: `wait:${wait[0]}`, attemptId };
    const claim = { id: attemptId, at: nowMs, wait };
    await gate.pass(() => settleForeign(db, { ...key, holder: node, outcome: 'approved', claim }));
    asks.tellSettled({ ...key, outcome: 'approved', claim });
    this.#noteAnswered(question);
    return 'taken';
  }

  /** What the log said, and what it has not heard yet: this node's copy may not know that a wait was given up. */
  async #withClaims(userId: string, told: UserState): Promise<UserState> {
    const { db, gate } = this.#options;
    const claims = await gate.pass(() => claimsOf(db, userId));
    const unmerged = claims.filter(({ merged }) => !merged).map(({ claim }) => claim);
    // Waits merge the same under any settings: those are about failures.
    return mergeClaims(told, unmerged, defaultSettings, Date.now());
  }

  async #mostKnown(userId: string): Promise<UserState> {
    const { gate } = this.#options;
    const most = await gate.pass(() => readMostKnown(this.#options, userId, DIRECT_GET_MS));
    return most.state ?? emptyState();
  }

  #noteAnswered({ questionId }: WaitedQuestion): void {
    for (const waiting of this.#waiting) {
      if (waiting.questionId === questionId) waiting.end('answered');
    }
  }

  #lookSoon(): void {
    if (this.#timer || this.#looking || this.#waiting.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#looking = this.#look().finally(() => {
        this.#looking = null;
        this.#lookSoon();
      });
    }, LOOK_MS);
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { db, gate, log } = this.#options;
    const waits = [...this.#waiting];
    const now = performance.now();
    const due = waits.filter(({ lookAt }) => lookAt <= now);
    for (const waiting of due) waiting.lookAt = now + ASK_LOG_MS * (0.8 + 0.4 * Math.random());
    const wanted = waits.map(({ userId, key }) => ({ userId, key }));
    const [answered] = await Promise.all([
      gate
        .pass(() => findAnsweredWaits(db, wanted))
        .catch((error: unknown) => {
          log.warn({ error: String(error) }, 'looking for answers failed, trying again');
          return [];
        }),
      ...due.map((waiting) => this.#askLog(waiting)),
    ]);
    const keys = new Set(answered.map(({ userId, key }) => `${userId} ${key}`));
    for (const waiting of waits) {
      if (keys.has(`${waiting.userId} ${waiting.key}`)) waiting.end('answered');
    }
  }

  /** Never rejects: of a state that cannot be read its own user has no answer, and nobody else. */
  async #askLog({ userId, questionId, end }: Waiting): Promise<void> {
    try {
      const read = await this.#options.states.readThroughLeader(userId, READ_MS);
      if (read.kind === 'found' && isAnswered(parseState(read.bytes), questionId)) end('answered');
    } catch (error) {
      this.#options.log.warn({ userId, error: String(error) }, 'asking the log for answers failed');
    }
  }
}

function isAnswered(state: UserState, questionId: string): boolean {
  const wait = waitOfQuestion(state, questionId, Date.now());
  return wait ? answerOf(wait) !== null : challengeOutcome(state, questionId) !== null;
}
