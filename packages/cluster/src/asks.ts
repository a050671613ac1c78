import type { NatsConnection } from '@nats-io/transport-node';
import { medianOf } from './membership.ts';
import type { NatsLink, Sealer } from './nats-link.ts';
import { aliveSubject, ALL_ALIVE, ASK_SUBJECT, SETTLED_SUBJECT } from './names.ts';

/** Without the quorum: "may I approve this item of this user?", to every live node at once. */
export type Ask = { userId: string; item: string; attemptId: string; node: string };

export type AskAnswer = {
  node: string;
  isGranted: boolean;
  /** Why not: another attempt holds the item in this phase. */
  refusedBy?: { attemptId: string; phase: string; holder: string };
  /** The user state this node knows (its store and its log server), encoded; null = none. */
  state: string | null;
};

/** How an ask ended, told to everyone; lost messages are what the 3 minutes of a reservation are for. */
export type Settled = {
  userId: string;
  item: string;
  attemptId: string;
  node: string;
  outcome: 'approved' | 'withdrawn';
  claim: unknown;
};

export const ASK_TIMEOUT_MS = 150;
/** An ask is sent again to those who have not answered: a route or subscription may just be coming back. */
const RESEND_MS = 45;
const ALIVE_EVERY_MS = 250;
/** An ask this old is not answered: whoever asked stopped waiting after 150 ms. */
const STALE_AFTER_MS = 3000;
/** How long the best reading of a peer's clocks stands against later, smaller ones. */
const OFFSET_KEPT_MS = 10_000;
/** Whoever lives has said so this long after a connection came up. */
const HEARD_WITHIN_MS = 2 * ALIVE_EVERY_MS;
/** A connection lost (or wanted) no longer ago than this is worth waiting for. */
const RECONNECTS_WITHIN_MS = 3000;
/** A way that carried nothing for so long is not used where another does. */
const WAY_HEARD_WITHIN_MS = 4 * ALIVE_EVERY_MS;
/** A node heard within this is waited for. */
const LIVE_WITHIN_MS = 5000;
const MAX_NODES = 64;

export type AsksOptions = {
  /** One to each log server, the nearest first: while any of them reaches the others, so do asks. */
  links: readonly NatsLink[];
  node: string;
  sealer: Sealer;
  answer(ask: Ask): Promise<Omit<AskAnswer, 'node'>>;
  onSettled(settled: Settled): Promise<void>;
};

/**
 * A node's clocks as its workers tell them, in ms: of the day, and the kernel's own (CLOCK_MONOTONIC), which is the
 * same in all processes of a machine, and which nobody sets.
 */
type Clocks = { wallMs: number; ticksMs: number };

/** `to`: a subject. */
type Reply = { to: string; sealed: Uint8Array };

type Waiting = { answers: Map<string, AskAnswer>; onAnswer(): void };

/** The workers' own line between nodes: asks, their outcomes, who is alive, whose clock is off. */
export class Asks implements AsyncDisposable {
  readonly #options: AsksOptions;
  readonly #inbox: string;
  readonly #waiting = new Map<string, Waiting>();
  readonly #alive = new Map<
    string,
    { seenAt: number; clocks: Clocks; ticksOffsetMs: number; bestAt: number }
  >();
  /** Of the last 150 ms, for the same ask arrives by several ways, and again by each. */
  readonly #answers = new Map<string, Promise<Omit<AskAnswer, 'node'>>>();
  readonly #replies = new Map<string, Promise<Reply | null>>();
  readonly #timer: NodeJS.Timeout;
  readonly #startedAt = performance.now();
  /** What was noted in the last 150 ms: it arrives by several ways too. */
  readonly #settled = new Set<string>();
  /** When something last came by each way; this node's own voice does too. */
  readonly #heardAt: number[] = [];
  /** When the connection was last seen down: who lives is not known yet right after. */
  #deafAt = performance.now();
  #lastId = 0;

  constructor(options: AsksOptions) {
    this.#options = options;
    this.#inbox = options.links[0]!.createInbox();
    for (const [way, link] of options.links.entries()) {
      link.whenFirstConnected((connection) => this.#subscribe(connection, link, way));
    }
    this.#timer = setInterval(() => this.#sayAlive(), ALIVE_EVERY_MS);
  }

  /** Other nodes heard lately: those an ask waits for. */
  liveNodes(): string[] {
    const since = performance.now() - LIVE_WITHIN_MS;
    return [...this.#alive].filter(([, { seenAt }]) => seenAt >= since).map(([node]) => node);
  }

  /** The cluster's median clock minus this node's, in ms. 0 when alone. */
  medianClockOffsetMs(): number {
    const own = readClocks();
    const offsets = this.liveNodes().map((node) => {
      const { clocks, ticksOffsetMs } = this.#alive.get(node)!;
      return clocks.wallMs - clocks.ticksMs + ticksOffsetMs - (own.wallMs - own.ticksMs);
    });
    return medianOf([0, ...offsets]);
  }

  /**
   * Answers of every live node that answered within {@link ASK_TIMEOUT_MS}; ends early once all have, or one
   * refuses. A connection just lost gets as long to come back.
   */
  async broadcast(ask: Omit<Ask, 'node'>): Promise<AskAnswer[]> {
    if (!(await this.#isReachable())) return [];
    const expected = this.liveNodes();
    const mayBeMore = performance.now() - this.#deafAt < HEARD_WITHIN_MS;
    if (expected.length === 0 && !mayBeMore) return [];
    const id = String((this.#lastId += 1));
    const body = { ...ask, node: this.#options.node, sentAtTicksMs: readClocks().ticksMs };
    const ways = this.#openWays().map((way) => ({
      link: this.#options.links[way]!,
      sealed: this.#seal({ ...body, reply: `${this.#inbox}.${way}.${id}` }, 'ask'),
    }));
    const answers = new Map<string, AskAnswer>();
    const resend = setInterval(() => {
      for (const { link, sealed } of ways) link.publish(ASK_SUBJECT, sealed);
    }, RESEND_MS);
    try {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ASK_TIMEOUT_MS);
        this.#waiting.set(id, {
          answers,
          onAnswer: () => {
            const isRefused = [...answers.values()].some((answer) => !answer.isGranted);
            const isComplete = !mayBeMore && expected.every((node) => answers.has(node));
            if (!isRefused && !isComplete) return;
            clearTimeout(timer);
            resolve();
          },
        });
        // By the nearest way first, which is enough on nearly every day.
        ways[0]?.link.publish(ASK_SUBJECT, ways[0].sealed);
      });
    } finally {
      clearInterval(resend);
      this.#waiting.delete(id);
    }
    return [...answers.values()];
  }

  tellSettled(settled: Omit<Settled, 'node'>): void {
    const message = { ...settled, node: this.#options.node };
    const sealed = this.#seal(message, 'settled');
    for (const way of this.#openWays()) this.#options.links[way]!.publish(SETTLED_SUBJECT, sealed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
  }

  #subscribe(connection: NatsConnection, link: NatsLink, way: number): void {
    const { node } = this.#options;
    // One worker of each node answers: the queue group is the node.
    connection.subscribe(ASK_SUBJECT, {
      queue: node,
      callback: (error, message) => {
        if (!error) void this.#onAsk(message.data, link);
      },
    });
    connection.subscribe(SETTLED_SUBJECT, {
      queue: node,
      callback: (error, message) => {
        const settled = error ? null : this.#open<Settled>(message.data, 'settled');
        if (settled && settled.node !== node) this.#noteSettled(settled);
      },
    });
    connection.subscribe(`${this.#inbox}.${way}.*`, {
      callback: (error, message) => {
        if (error) return;
        const waiting = this.#waiting.get(message.subject.split('.').at(-1)!);
        const answer = waiting && this.#open<AskAnswer>(message.data, 'answer');
        if (!answer) return;
        waiting.answers.set(answer.node, answer);
        waiting.onAnswer();
      },
    });
    connection.subscribe(ALL_ALIVE, {
      callback: (error, message) => {
        if (error) return;
        this.#heardAt[way] = performance.now();
        const name = message.subject.slice(message.subject.lastIndexOf('.') + 1);
        if (name === node) return;
        if (!this.#alive.has(name) && this.#alive.size >= MAX_NODES) return;
        const clocks = parseClocks(Buffer.from(message.data).toString());
        if (clocks) this.#noteAlive(name, clocks);
      },
    });
    if (!this.#options.links.some((other) => other !== link && other.isUp)) {
      this.#deafAt = performance.now();
    }
    this.#sayAlive();
  }

  #noteSettled(settled: Settled): void {
    const key = `${settled.node} ${settled.attemptId} ${settled.item} ${settled.outcome}`;
    if (this.#settled.has(key)) return;
    this.#settled.add(key);
    setTimeout(() => this.#settled.delete(key), ASK_TIMEOUT_MS).unref();
    this.#options.onSettled(settled).catch(() => undefined);
  }

  /** Where something was heard lately; else the nearest that is up: a server that hangs would only store the rest. */
  #openWays(): number[] {
    const { links } = this.#options;
    const up = [...links.keys()].filter((way) => links[way]!.isUp);
    const since = performance.now() - WAY_HEARD_WITHIN_MS;
    const open = up.filter((way) => (this.#heardAt[way] ?? 0) >= since);
    return open.length > 0 ? open : up.slice(0, 1);
  }

  async #isReachable(): Promise<boolean> {
    const { links } = this.#options;
    if (links.some(({ isUp }) => isUp)) return true;
    const lastUpAt = Math.max(this.#startedAt, ...links.map((link) => link.lastUpAt));
    if (performance.now() - lastUpAt >= RECONNECTS_WITHIN_MS) return false;
    await Promise.race(links.map((link) => link.waitUntilUp(ASK_TIMEOUT_MS)));
    return links.some(({ isUp }) => isUp);
  }

  async #onAsk(data: Uint8Array, link: NatsLink): Promise<void> {
    try {
      // Sent again it is the same bytes.
      const reply = await this.#once(Buffer.from(data).toString('latin1'), this.#replies, () =>
        this.#replyTo(data),
      );
      if (reply) link.publish(reply.to, reply.sealed);
    } catch {
      // No answer is an answer: the asker counts this node as unreachable.
    }
  }

  async #replyTo(data: Uint8Array): Promise<Reply | null> {
    const ask = this.#open<Ask & { reply: string; sentAtTicksMs: number }>(data, 'ask');
    const { node, answer } = this.#options;
    if (!ask || ask.node === node || this.#isStale(ask)) return null;
    const key = `${ask.node} ${ask.attemptId} ${ask.item}`;
    const answered = await this.#once(key, this.#answers, () => answer(ask));
    return { to: ask.reply, sealed: this.#seal({ ...answered, node }, 'answer') };
  }

  #once<T>(key: string, kept: Map<string, Promise<T>>, make: () => Promise<T>): Promise<T> {
    const before = kept.get(key);
    if (before) return before;
    const made = make();
    kept.set(key, made);
    setTimeout(() => kept.delete(key), ASK_TIMEOUT_MS).unref();
    return made;
  }

  // A log server that hung delivers all it was given at once: nobody waits for those answers any more.
  #isStale({ node, sentAtTicksMs }: { node: string; sentAtTicksMs: number }): boolean {
    const peer = this.#alive.get(node);
    if (!peer) return false;
    return readClocks().ticksMs - (sentAtTicksMs - peer.ticksOffsetMs) > STALE_AFTER_MS;
  }

  // A message that waited on its way makes the peer look slow: the largest offset lately is the true one.
  #noteAlive(name: string, clocks: Clocks): void {
    const now = performance.now();
    const known = this.#alive.get(name);
    const offsetMs = clocks.ticksMs - readClocks().ticksMs;
    const isBest = !known || offsetMs >= known.ticksOffsetMs || now - known.bestAt > OFFSET_KEPT_MS;
    this.#alive.set(name, {
      seenAt: now,
      clocks,
      ticksOffsetMs: isBest ? offsetMs : known.ticksOffsetMs,
      bestAt: isBest ? now : known.bestAt,
    });
  }

  #sayAlive(): void {
    if (!this.#options.links.some(({ isUp }) => isUp)) this.#deafAt = performance.now();
    const subject = aliveSubject(this.#options.node);
    const { wallMs, ticksMs } = readClocks();
    for (const link of this.#options.links) link.publish(subject, `${wallMs} ${ticksMs}`);
  }

  #seal(message: object, context: string): Uint8Array {
    return this.#options.sealer.seal(Buffer.from(JSON.stringify(message)), `asks|${context}`);
  }

  #open<T>(data: Uint8Array, context: string): T | null {
    try {
      const opened = this.#options.sealer.open(data, `asks|${context}`);
      return JSON.parse(Buffer.from(opened).toString()) as T;
    } catch {
      return null;
    }
  }
}

function readClocks(): Clocks {
  return { wallMs: Date.now(), ticksMs: Number(process.hrtime.bigint() / 1_000_000n) };
}

function parseClocks(text: string): Clocks | null {
  const [wallMs = Number.NaN, ticksMs = Number.NaN, ...more] = text.split(' ').map(Number);
  const isWhole = Number.isFinite(wallMs) && Number.isFinite(ticksMs) && more.length === 0;
  return isWhole ? { wallMs, ticksMs } : null;
}
