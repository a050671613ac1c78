/**
 * What `produce` gives, one at a time: it goes on only when the one before was taken. Breaking off
 * the loop makes the next `give` throw, so that `produce` ends; its error is the loop's.
 */
export async function* streamPages<T>(
  produce: (give: (page: T) => Promise<void>, signal: AbortSignal) => Promise<void>,
): AsyncGenerator<T> {
  const stop = new AbortController();
  let offered = Promise.withResolvers<T | null>();
  let wanted = Promise.withResolvers<void>();
  const give = async (page: T) => {
    stop.signal.throwIfAborted();
    offered.resolve(page);
    await wanted.promise;
    stop.signal.throwIfAborted();
  };
  const produced = produce(give, stop.signal).then(
    () => offered.resolve(null),
    (error: unknown) => offered.reject(error),
  );
  try {
    for (;;) {
      const page = await offered.promise;
      if (page === null) return;
      yield page;
      offered = Promise.withResolvers();
      const { resolve } = wanted;
      wanted = Promise.withResolvers();
      resolve();
    }
  } finally {
    stop.abort(new Error('nobody reads on'));
    // Nobody waits for what it still offers.
    offered.promise.catch(() => {});
    wanted.resolve();
    await produced;
  }
}
