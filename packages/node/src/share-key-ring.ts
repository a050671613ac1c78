import { WORKER_KEYS } from '@countersign/auth-worker';
import { deriveKeys, handKeys } from '@countersign/keys';
import {
  AGENT_KEYS,
  type GenerationMessage,
  type KeyRingMessage,
  type KeysMessage,
} from '@countersign/replication-agent';

import type { KeptKeyRing } from './key-ring.ts';
import type { OwnProcess } from './own-process.ts';
import type { SupervisorEvents } from './supervisor-events.ts';

type Tell = OwnProcess['tell'];

/** Hands the keys of the ring to the node's processes as it changes, and hears from the agent how it is to change. */
export class SharedKeyRing {
  readonly #ring: KeptKeyRing;
  readonly #events: Pick<SupervisorEvents, 'keyRingChanged' | 'keyRingFailed'>;
  #tellAgent: Tell = () => undefined;
  readonly #tellWorkers = new Map<number, Tell>();

  constructor(
    ring: KeptKeyRing,
    events: Pick<SupervisorEvents, 'keyRingChanged' | 'keyRingFailed'>,
  ) {
    this.#ring = ring;
    this.#events = events;
  }

  /** What it was started with may be older than the ring is now. */
  agentRuns(tell: Tell): void {
    this.#tellAgent = tell;
    this.#handToAgent();
  }

  workerRuns(index: number, tell: Tell): void {
    this.#tellWorkers.set(index, tell);
    tell(this.#workerMessage());
  }

  /** True for what was meant for this. */
  hear(message: { type: string }): boolean {
    if (message.type === 'make-generation') {
      const generation = this.#ring.makeGeneration();
      const made: GenerationMessage = { type: 'generation', generation };
      this.#tellAgent(made);
      return true;
    }
    if (message.type !== 'key-ring') return false;
    void this.#follow((message as KeyRingMessage).document);
    return true;
  }

  async #follow(document: KeyRingMessage['document']): Promise<void> {
    const before = this.#ring.ring;
    const isDone = await this.#ring.follow(document).catch((error: unknown) => {
      this.#events.keyRingFailed(String(error));
      return false;
    });
    const { active, problem } = this.#ring.report;
    if (!isDone && problem !== null) this.#events.keyRingFailed(problem);
    if (this.#ring.ring !== before) {
      const message = this.#workerMessage();
      for (const tell of this.#tellWorkers.values()) tell(message);
      this.#events.keyRingChanged(active, this.#ring.ring.generations.length);
    }
    // Last: what the agent tells the others is true of the workers too.
    this.#handToAgent();
  }

  #workerMessage() {
    return { type: 'keys', keys: handKeys(deriveKeys(this.#ring.ring, WORKER_KEYS)) };
  }

  #handToAgent(): void {
    const keys = handKeys(deriveKeys(this.#ring.ring, AGENT_KEYS));
    const message: KeysMessage = { type: 'keys', keys, keyRing: this.#ring.report };
    this.#tellAgent(message);
  }
}
