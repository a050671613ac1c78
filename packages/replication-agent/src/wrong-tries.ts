const WINDOW_MS = 600_000;
const TRIES_MAX = 5;
const SUBJECTS_MAX = 50_000;
/** Names that nobody has: forgotten before anybody who exists is. */
const STRANGERS_MAX = 1000;

/**
 * Wrong PINs and codes given to the master for one subject within 10 minutes: after 5 nothing more is judged. Kept in
 * memory, so that a new master begins anew.
 */
export class WrongTries {
  readonly #tries = new Map<string, number[]>();
  readonly #strangers = new Map<string, number[]>();

  /** Whether nothing may be judged about the subject now. */
  isSpent(subject: string, nowMs: number, options: { isStranger?: boolean } = {}): boolean {
    const known = options.isStranger ? this.#strangers : this.#tries;
    const recent = recentOf(known.get(subject), nowMs);
    if (recent.length >= TRIES_MAX) return true;
    // With no room to remember another subject its guesses could not be counted.
    return known === this.#tries && recent.length === 0 && !this.#hasRoom(nowMs);
  }

  add(subject: string, nowMs: number, options: { isStranger?: boolean } = {}): void {
    const known = options.isStranger ? this.#strangers : this.#tries;
    const recent = recentOf(known.get(subject), nowMs);
    known.delete(subject);
    known.set(subject, [...recent, nowMs]);
    if (this.#strangers.size > STRANGERS_MAX) {
      this.#strangers.delete(this.#strangers.keys().next().value!);
    }
  }

  clear(subject: string): void {
    this.#tries.delete(subject);
  }

  #hasRoom(nowMs: number): boolean {
    // Oldest first: a subject moves to the end with every wrong try.
    for (const [subject, tries] of this.#tries) {
      if (recentOf(tries, nowMs).length > 0) break;
      this.#tries.delete(subject);
    }
    return this.#tries.size < SUBJECTS_MAX;
  }
}

function recentOf(tries: readonly number[] | undefined, nowMs: number): number[] {
  return (tries ?? []).filter((at) => nowMs - at < WINDOW_MS);
}
