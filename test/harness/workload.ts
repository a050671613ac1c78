import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from './api-client.ts';
import type { Person } from './people.ts';

export type VerificationFigures = {
  approved: number;
  /** Their ids. */
  approvedIds: string[];
  degraded: number;
  /** `what` tells of every try: node, answer, ms since the first. */
  failed: { at: number; node: string; what: string }[];
  /** Longest time without an approval on one node, ms. */
  longestGapMs: number;
  /** All such times, and when each began (`performance.now()`). */
  gaps: { at: number; ms: number }[];
  /** How long each approval took. */
  latenciesMs: number[];
};

/**
 * Verifies fresh codes steadily on every given node, each person one at a time, and notes when approvals came.
 * A person never uses a code twice, so every attempt must be approved; one that got no verdict is tried again, or the
 * token would run ahead of what its server looks for.
 */
export class VerificationLoad implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[];
  readonly #approvals = new Map<string, number[]>();
  readonly #failed: VerificationFigures['failed'] = [];
  readonly #approvedIds: string[] = [];
  readonly #latenciesMs: number[] = [];
  readonly #unjudged = new Map<Person, string>();
  #degraded = 0;

  constructor(options: {
    clients: { name: string; api: ApiClient }[];
    people: Person[];
    everyMs: number;
    /** A client that tries the same attempt on the next node, as a load balancer's would. */
    retry?: boolean;
  }) {
    const { clients, people } = options;
    const now = performance.now();
    for (const { name } of clients) this.#approvals.set(name, [now]);
    this.#running = clients.map((client, i) => {
      const own = people.filter((_, index) => index % clients.length === i);
      const rest = options.retry ? clients.filter((other) => other !== client) : [];
      return this.#drive([client, ...rest], own, options.everyMs);
    });
  }

  get approved(): number {
    return this.#approvedIds.length;
  }

  /** A test that failed must not leave a load behind: its codes would cross those of the next one's. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async stop(): Promise<VerificationFigures> {
    this.#stop.abort();
    await Promise.all(this.#running);
    const now = performance.now();
    const gaps = [...this.#approvals.values()].flatMap((times) =>
      [...times.slice(1), now].map((to, i) => ({ at: times[i]!, ms: to - times[i]! })),
    );
    return {
      approved: this.#approvedIds.length,
      approvedIds: this.#approvedIds,
      degraded: this.#degraded,
      failed: this.#failed,
      longestGapMs: Math.round(Math.max(...gaps.map(({ ms }) => ms))),
      gaps,
      latenciesMs: this.#latenciesMs,
    };
  }

  async #drive(
    clients: { name: string; api: ApiClient }[],
    people: Person[],
    everyMs: number,
  ): Promise<void> {
    const pending = new Set<Promise<void>>();
    const busy = new Set<Person>();
    let turn = 0;
    while (!this.#stop.signal.aborted) {
      const person = people[turn % people.length]!;
      turn += 1;
      if (!busy.has(person)) {
        busy.add(person);
        const one = this.#verify(clients, person).finally(() => {
          busy.delete(person);
          pending.delete(one);
        });
        pending.add(one);
      }
      await sleep(everyMs);
    }
    await Promise.all(pending);
  }

  async #verify(clients: { name: string; api: ApiClient }[], person: Person): Promise<void> {
    const [first] = clients;
    const code = this.#unjudged.get(person) ?? person.nextCode();
    const body = { username: person.username, code };
    this.#unjudged.set(person, code);
    const idempotencyKey = randomUUID();
    const sentAt = performance.now();
    const tries: string[] = [];
    const noteTry = (what: string) =>
      tries.push(`${what} at ${Math.round(performance.now() - sentAt)} ms`);
    for (const { name, api } of clients) {
      try {
        let answer = await api.verify(body, { idempotencyKey, timeoutMs: 5000 });
        if (answer.body.reason === 'resync') {
          // As its text asks a person to.
          const next = { username: person.username, code: person.nextCode() };
          answer = await api.verify(next, { idempotencyKey: randomUUID(), timeoutMs: 5000 });
        }
        const { status, body: reply } = answer;
        if (status === 200) this.#unjudged.delete(person);
        if (status === 200 && reply.status === 'approved') {
          this.#approvedIds.push(reply.id);
          this.#latenciesMs.push(performance.now() - sentAt);
          if (reply.degraded) this.#degraded += 1;
          this.#approvals.get(first!.name)!.push(performance.now());
          return;
        }
        noteTry(`${name}: ${status} ${reply.reason ?? reply.code ?? ''}`);
      } catch (error) {
        noteTry(`${name}: ${String(error)}`);
      }
    }
    this.#failed.push({ at: performance.now(), node: first!.name, what: tries.join(', ') });
  }
}

export type WriteFigures = {
  acknowledged: { username: string; revision: number; at: number; tookMs: number }[];
  refused: { username: string; at: number; status: number; code: string }[];
  unknown: number;
  /** Users whose writes those are. */
  uncertain: string[];
  /** Longest pause between two acknowledgements, ms. */
  longestPauseMs: number;
};

/** Adds users steadily through the given nodes in turn and remembers every acknowledgement. */
export class WriteLoad implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  readonly #figures: WriteFigures = {
    acknowledged: [],
    refused: [],
    unknown: 0,
    uncertain: [],
    longestPauseMs: 0,
  };

  constructor(options: { clients: ApiClient[]; prefix: string; everyMs: number }) {
    this.#running = this.#drive(options);
  }

  get acknowledged(): number {
    return this.#figures.acknowledged.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async stop(): Promise<WriteFigures> {
    this.#stop.abort();
    await this.#running;
    const times = this.#figures.acknowledged.map(({ at }) => at);
    const pauses = times.slice(1).map((at, i) => at - times[i]!);
    return { ...this.#figures, longestPauseMs: Math.round(Math.max(0, ...pauses)) };
  }

  async #drive(options: { clients: ApiClient[]; prefix: string; everyMs: number }): Promise<void> {
    const pending = new Set<Promise<void>>();
    for (let i = 0; !this.#stop.signal.aborted; i += 1) {
      const api = options.clients[i % options.clients.length]!;
      const one = this.#write(api, `${options.prefix}-${i}`).finally(() => pending.delete(one));
      pending.add(one);
      await sleep(options.everyMs);
    }
    await Promise.all(pending);
  }

  async #write(api: ApiClient, username: string): Promise<void> {
    const sentAt = performance.now();
    try {
      const { status, body } = await api.call<{ revision: number }>('POST', '/api/v1/users', {
        body: { username },
        timeoutMs: 15_000,
      });
      const at = performance.now();
      if (status === 201) {
        const tookMs = at - sentAt;
        this.#figures.acknowledged.push({ username, revision: body.revision, at, tookMs });
      } else if (status === 504) this.#noteUncertain(username);
      else this.#figures.refused.push({ username, at, status, code: body.code ?? '' });
    } catch {
      this.#noteUncertain(username);
    }
  }

  #noteUncertain(username: string): void {
    this.#figures.unknown += 1;
    this.#figures.uncertain.push(username);
  }
}

/** Which of these users exist on that node. */
export async function existingUsers(api: ApiClient, usernames: string[]): Promise<string[]> {
  const existing: string[] = [];
  for (const username of usernames) {
    const { status } = await api.call('GET', `/api/v1/users/${username}`);
    if (status === 200) existing.push(username);
  }
  return existing;
}

/** The value below which `part` (0..1) of them lie. */
export function quantile(values: number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)] ?? 0;
}
