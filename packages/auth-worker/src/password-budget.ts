const SUBJECTS_MAX = 20_000;

type Count = { failures: number; sinceMs: number };

/**
 * Wrong passwords by subject, such as an address or somebody who is no user: of those no state remembers anything.
 * Each worker counts for itself; of 20,000 subjects, and the one heard of longest ago is forgotten first.
 */
export class PasswordBudget {
  readonly #counts = new Map<string, Count>();

  isSpent(subject: string, limit: { failures: number; minutes: number }, nowMs: number): boolean {
    return this.#recent(subject, limit.minutes, nowMs).failures >= limit.failures;
  }

  add(subject: string, limit: { minutes: number }, nowMs: number): void {
    const { failures, sinceMs } = this.#recent(subject, limit.minutes, nowMs);
    this.#counts.delete(subject);
    this.#counts.set(subject, { failures: failures + 1, sinceMs });
    if (this.#counts.size > SUBJECTS_MAX) this.#counts.delete(this.#counts.keys().next().value!);
  }

  /** What was added before the answer was known, and was not wrong. */
  giveBack(subject: string): void {
    const known = this.#counts.get(subject);
    if (!known) return;
    if (known.failures > 1) known.failures -= 1;
    else this.#counts.delete(subject);
  }

  #recent(subject: string, minutes: number, nowMs: number): Count {
    const known = this.#counts.get(subject);
    const isOver = !known || nowMs - known.sinceMs >= minutes * 60_000;
    return isOver ? { failures: 0, sinceMs: nowMs } : known;
  }
}
