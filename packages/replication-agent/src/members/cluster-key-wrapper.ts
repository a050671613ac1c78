import { randomUUID } from 'node:crypto';
import type { MemberList } from '@countersign/identity';
import type { MemberMessage, WrappedKeyMessage } from './supervisor-line.ts';

const ANSWER_MS = 5_000;
/** Nodes join one at a time; what waits beyond this is refused. */
const MAX_WAITING = 16;

/** Asks the supervisor for the cluster key, encrypted for a joiner: agents do not have it. */
export class ClusterKeyWrapper {
  readonly #tell: (message: MemberMessage) => void;
  readonly #waiting = new Map<string, (wrapped: string | null) => void>();

  constructor(tell: (message: MemberMessage) => void) {
    this.#tell = tell;
  }

  /** Null: refused, or no answer in 5 s. */
  async wrap(about: { certificatePem: string; list: MemberList }): Promise<string | null> {
    if (this.#waiting.size >= MAX_WAITING) return null;
    const id = randomUUID();
    const { promise, resolve } = Promise.withResolvers<string | null>();
    const deadline = setTimeout(() => resolve(null), ANSWER_MS);
    this.#waiting.set(id, resolve);
    this.#tell({ type: 'wrap-cluster-key', id, ...about });
    try {
      return await promise;
    } finally {
      clearTimeout(deadline);
      this.#waiting.delete(id);
    }
  }

  take({ id, wrapped }: WrappedKeyMessage): void {
    this.#waiting.get(id)?.(wrapped);
  }
}
