const MAX_WAITING = 4;

/** One step of a user at a time; four may wait, more are `busy`. */
export class UserQueue {
  readonly #users = new Map<string, { waiting: number; last: Promise<unknown> }>();

  /** Null when the queue is full: nothing ran. `hasWaited`: another step of the user ended just before. */
  run<T>(user: string, work: (hasWaited: boolean) => Promise<T>): Promise<T> | null {
    const entry = this.#users.get(user);
    if (entry && entry.waiting > MAX_WAITING) return null;
    const own = entry ?? { waiting: 0, last: Promise.resolve() };
    const hasWaited = own.waiting > 0;
    own.waiting += 1;
    const result = own.last.then(() => work(hasWaited));
    own.last = result
      .catch(() => undefined)
      .then(() => {
        own.waiting -= 1;
        if (own.waiting === 0) this.#users.delete(user);
      });
    this.#users.set(user, own);
    return result;
  }
}
