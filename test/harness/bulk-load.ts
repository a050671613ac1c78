import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from './api-client.ts';

type BulkReply = {
  results: { status: number; id?: string; revision?: number; code?: string }[];
};

export type BulkFigures = {
  /** Id and revision by username. */
  acknowledged: Map<string, { id: string; revision: number }>;
  /** Certainly not added. */
  refused: string[];
  uncertain: string[];
  /** Answers that were neither: they must not be. */
  odd: string[];
};

const AGAIN_AFTER_MS = 50;

/** Adds users by bulk requests, one after the other through each client, and remembers what became of each. */
export class BulkLoad {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[];
  readonly #prefix: string;
  readonly #perRequest: number;
  readonly #timeoutMs: number;
  readonly #figures: BulkFigures = {
    acknowledged: new Map(),
    refused: [],
    uncertain: [],
    odd: [],
  };
  #requests = 0;
  #newest: string[] = [];

  /** Whoever has no answer after `timeoutMs` gives up and sends the next request. */
  constructor(options: {
    clients: ApiClient[];
    prefix: string;
    perRequest: number;
    timeoutMs?: number;
  }) {
    this.#prefix = options.prefix;
    this.#perRequest = options.perRequest;
    this.#timeoutMs = options.timeoutMs ?? 40_000;
    this.#running = options.clients.map((client) => this.#drive(client));
  }

  get acknowledged(): number {
    return this.#figures.acknowledged.size;
  }

  /** The users of the request that was sent last, in their order. */
  get newest(): readonly string[] {
    return this.#newest;
  }

  async stop(): Promise<BulkFigures> {
    this.#stop.abort();
    await Promise.all(this.#running);
    return this.#figures;
  }

  async #drive(client: ApiClient): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#requests += 1;
      const names = Array.from(
        { length: this.#perRequest },
        (_, i) => `${this.#prefix}-${this.#requests}-${i}`,
      );
      this.#newest = names;
      if (!(await this.#send(client, names))) await sleep(AGAIN_AFTER_MS);
    }
  }

  async #send(client: ApiClient, names: string[]): Promise<boolean> {
    const { acknowledged, refused, uncertain, odd } = this.#figures;
    try {
      const { status, body } = await client.call<BulkReply>('POST', '/api/v1/users/bulk', {
        body: names.map((username) => ({ username })),
        timeoutMs: this.#timeoutMs,
      });
      if (status !== 200) {
        const list = status === 503 ? refused : status === 504 ? uncertain : odd;
        list.push(...names);
        return false;
      }
      for (const [index, { status: each, id, revision }] of body.results.entries()) {
        const name = names[index]!;
        if (each === 201) acknowledged.set(name, { id: id!, revision: revision! });
        else (each === 503 ? refused : each === 504 ? uncertain : odd).push(name);
      }
      return true;
    } catch {
      uncertain.push(...names);
      return false;
    }
  }
}
