/**
 * The same work for everybody who asks while it is under way: whoever floods what anybody may ask causes one at a time.
 * What is told may be as old as the work takes.
 */
export function shareInFlight<T>(work: () => Promise<T>): () => Promise<T> {
  let underWay: Promise<T> | null = null;
  return () => {
    underWay ??= work().finally(() => {
      underWay = null;
    });
    return underWay;
  };
}
