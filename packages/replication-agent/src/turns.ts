/** What a piece of work touches: the names of single things, or everything. */
export type Touched = readonly string[] | 'everything';

export type Turn = { release(): void };

/**
 * Work that touches different things goes on side by side; work that touches the same thing goes one after the
 * other, in the order it asked.
 */
export class Turns {
  readonly #newestOf = new Map<string, Promise<void>>();
  readonly #all = new Set<Promise<void>>();
  #newestOfEverything: Promise<void> = Promise.resolve();

  /** Waits for all earlier work that touches the same; null when `timeoutMs` is over first. */
  async take(touched: Touched, timeoutMs: number): Promise<Turn | null> {
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const before = this.#before(touched);
    this.#enter(touched, done);
    const release = () => {
      this.#leave(touched, done);
      resolve();
    };
    if (await settlesWithin(before, timeoutMs)) return { release };
    // Whoever waits for this one waits for those before it too.
    void before.then(release);
    return null;
  }

  #before(touched: Touched): Promise<unknown> {
    if (touched === 'everything') return Promise.all(this.#all);
    const newest = touched.map((name) => this.#newestOf.get(name));
    return Promise.all([this.#newestOfEverything, ...newest]);
  }

  #enter(touched: Touched, done: Promise<void>): void {
    this.#all.add(done);
    if (touched === 'everything') this.#newestOfEverything = done;
    else for (const name of touched) this.#newestOf.set(name, done);
  }

  #leave(touched: Touched, done: Promise<void>): void {
    this.#all.delete(done);
    if (touched === 'everything') return;
    for (const name of touched) {
      if (this.#newestOf.get(name) === done) this.#newestOf.delete(name);
    }
  }
}

async function settlesWithin(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, timeoutMs), false);
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
