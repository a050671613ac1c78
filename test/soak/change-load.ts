import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from '../harness/api-client.ts';

const KEPT_USERS = 50;
const REPEAT_AFTER_MS = 1000;

/** Adds, changes and removes users steadily through all nodes; an open outcome is asked for once more elsewhere. */
export class ChangeLoad {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  readonly #clients: ApiClient[];
  readonly #prefix: string;
  readonly #users: string[] = [];
  #added = 0;

  constructor(options: { clients: ApiClient[]; prefix: string; everyMs: number }) {
    this.#clients = options.clients;
    this.#prefix = options.prefix;
    this.#running = this.#drive(options.everyMs);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #drive(everyMs: number): Promise<void> {
    const pending = new Set<Promise<void>>();
    for (let turn = 0; !this.#stop.signal.aborted; turn += 1) {
      const one = this.#change(turn).finally(() => pending.delete(one));
      pending.add(one);
      await sleep(everyMs);
    }
    await Promise.all(pending);
  }

  async #change(turn: number): Promise<void> {
    const username = this.#users[turn % (this.#users.length || 1)];
    if (username === undefined || turn % 2 === 0) {
      this.#added += 1;
      const added = `${this.#prefix}-${this.#added}`;
      if (await this.#send(turn, 'POST', '', { username: added })) this.#users.push(added);
    } else if (this.#users.length > KEPT_USERS) {
      const oldest = this.#users.shift()!;
      await this.#send(turn, 'DELETE', `/${oldest}`);
    } else await this.#send(turn, 'PATCH', `/${username}`, { displayName: `name ${turn}` });
  }

  /** Whether it was acknowledged. */
  async #send(
    turn: number,
    method: 'POST' | 'PATCH' | 'DELETE',
    path: string,
    body?: object,
  ): Promise<boolean> {
    const idempotencyKey = randomUUID();
    for (const attempt of [0, 1]) {
      const api = this.#clients[(turn + attempt) % this.#clients.length]!;
      try {
        const { status } = await api.call(method, `/api/v1/users${path}`, {
          ...(body && { body }),
          idempotencyKey,
        });
        if (status !== 504) return status < 300;
      } catch {
        // No answer: as open as a 504.
      }
      await sleep(REPEAT_AFTER_MS);
    }
    return false;
  }
}
