/** Why a request's signal is aborted when its client has given up on it. */
export class RequestReplacedError extends Error {
  override readonly name = 'RequestReplacedError';
}

interface Pending {
  readonly packet: Buffer;
  readonly abort: AbortController;
}

interface Answered {
  readonly packet: Buffer;
  readonly reply: Buffer;
  readonly doneAt: number;
}

export type Begun =
  | {
      kind: 'new';
      /** Aborted when another request takes its place. */
      abort: AbortController;
      /** Ends it, with the reply that duplicates get; false if another request took its place. */
      finish: (reply: Buffer | null, now: number) => boolean;
    }
  | { kind: 'pending' }
  | { kind: 'answered'; reply: Buffer };

/** Memory that an answered request takes besides its own and its reply's bytes, roughly. */
const entryBytes = 500;

/**
 * Duplicate detection (RFC 5080 §2.2.2). A packet equal in all its bytes to the last one of its
 * source, port and identifier is a duplicate: silence while that is pending, then its reply, for
 * `keepMs`. Any other packet there is a new request, and its predecessor is aborted.
 */
export class RecentRequests {
  readonly #pending = new Map<string, Pending>();
  /** In the order of `doneAt`. */
  readonly #answered = new Map<string, Answered>();
  readonly #bounds: { keepMs: number; maxEntries: number; maxBytes: number };
  #bytes = 0;

  constructor(bounds: { keepMs: number; maxEntries: number; maxBytes: number }) {
    this.#bounds = bounds;
  }

  /** `key`: of source address, port and identifier. `now`: of a clock that never goes back. */
  begin(key: string, packet: Buffer, now: number): Begun {
    this.expire(now);
    const answered = this.#answered.get(key);
    if (answered?.packet.equals(packet)) return { kind: 'answered', reply: answered.reply };
    const predecessor = this.#pending.get(key);
    if (predecessor?.packet.equals(packet)) return { kind: 'pending' };
    this.#forget(key);
    const abort = new AbortController();
    const own = { packet, abort };
    this.#pending.set(key, own);
    predecessor?.abort.abort(
      new RequestReplacedError('the client has sent another request in its place'),
    );
    const finish = (reply: Buffer | null, doneAt: number) => {
      if (this.#pending.get(key) !== own) return false;
      this.#pending.delete(key);
      if (reply) this.#keep(key, { packet, reply, doneAt });
      return true;
    };
    return { kind: 'new', abort, finish };
  }

  /** Ends all that is pending; their `finish` gives false. */
  abortAll(reason: Error): void {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const { abort } of all) abort.abort(reason);
  }

  expire(now: number): void {
    for (const [key, { doneAt }] of this.#answered) {
      if (now - doneAt < this.#bounds.keepMs) return;
      this.#forget(key);
    }
  }

  get size(): { entries: number; bytes: number } {
    return { entries: this.#answered.size, bytes: this.#bytes };
  }

  #keep(key: string, answered: Answered): void {
    this.#answered.set(key, answered);
    this.#bytes += bytesOf(answered);
    const { maxEntries, maxBytes } = this.#bounds;
    for (const oldest of this.#answered.keys()) {
      if (this.#answered.size <= maxEntries && this.#bytes <= maxBytes) return;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    const entry = this.#answered.get(key);
    if (!entry) return;
    this.#answered.delete(key);
    this.#bytes -= bytesOf(entry);
  }
}

function bytesOf({ packet, reply }: Answered): number {
  return entryBytes + packet.length + reply.length;
}
