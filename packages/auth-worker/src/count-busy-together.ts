import type { Finish } from '@countersign/database';

/**
 * A flood must not push what happened out of the event stream: what one client was told `busy` at the same time, for
 * whomever, is one event with a count. None of it was judged, or even looked up.
 */
export function countBusyTogether(finishes: Finish[]): Finish[] {
  const others = finishes.filter(({ event }) => !isBusy(event));
  const byClient = Map.groupBy(
    finishes.filter(({ event }) => isBusy(event)),
    ({ event }) => JSON.stringify([event.actor, event.application, event.clientAddress]),
  );
  const counted = [...byClient.values()].map(([first, ...more]) => {
    const { event } = first!;
    if (more.length === 0) return first!;
    return { ...first, event: { ...event, details: { ...event.details, count: 1 + more.length } } };
  });
  return [...others, ...counted];
}

function isBusy({ reason, userId }: Finish['event']): boolean {
  return reason === 'busy' && userId === null;
}
