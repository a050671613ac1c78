import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from '../harness/api-client.ts';
import type { Person } from '../harness/people.ts';

/** Sends one code to all nodes at once, again and again: the history tells how often it let in. */
export class SameCodeLoad {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: { clients: ApiClient[]; people: Person[]; everyMs: number }) {
    this.#running = this.#drive(options);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #drive(options: { clients: ApiClient[]; people: Person[]; everyMs: number }) {
    const { clients, people, everyMs } = options;
    for (let turn = 0; !this.#stop.signal.aborted; turn += 1) {
      const person = people[turn % people.length]!;
      const { username } = person;
      const code = person.nextCode();
      const answers = clients.map((api) => api.verify({ username, code }, { timeoutMs: 5000 }));
      // Whatever became of them stands in the history.
      await Promise.allSettled(answers);
      await sleep(everyMs);
    }
  }
}
