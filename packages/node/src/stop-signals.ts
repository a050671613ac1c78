const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

// Wrappers such as npm pass on a Ctrl-C that the terminal has delivered to us already.
const sameWishMs = 300;

/**
 * Calls `onStop` at the first SIGINT, SIGTERM or SIGHUP and `onKill` at the next one that is no echo
 * of the first. Returns what removes the listeners.
 */
export function listenForStop(listeners: {
  onStop: (signal: NodeJS.Signals) => void;
  onKill: () => void;
}): () => void {
  let stoppedAt: number | undefined;
  const listener = (signal: NodeJS.Signals) => {
    if (stoppedAt === undefined) {
      stoppedAt = performance.now();
      listeners.onStop(signal);
    } else if (performance.now() - stoppedAt > sameWishMs) {
      listeners.onKill();
    }
  };
  for (const signal of stopSignals) process.on(signal, listener);
  return () => {
    for (const signal of stopSignals) process.off(signal, listener);
  };
}
