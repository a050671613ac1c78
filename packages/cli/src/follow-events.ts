import { setTimeout as sleep } from 'node:timers/promises';
import type { StoredEvent } from '@countersign/api';
import { UnansweredError } from './cli-error.ts';
import type { Session } from './session.ts';

const EVERY_MS = 1000;
const PAGE = 500;

type Page = { events: StoredEvent[]; next: string };

/**
 * Hands on events as they arrive, for ever: from now on, or first those since a time. The cursor
 * means the same on every node, so whichever of the servers answers, none is missed or doubled.
 */
export async function followEvents(
  session: Session,
  options: {
    filter: { user?: string; type?: string };
    since?: string;
    onEvents(events: StoredEvent[]): void;
    /** With why nobody answers, once; null when somebody does again. */
    onSilence(why: string | null): void;
  },
): Promise<never> {
  const { filter, onEvents, onSilence } = options;
  // Only for what is there already: later an event may come late, from a time before.
  let since = options.since;
  let after = since === undefined ? 'end' : 'start';
  let isSilent = false;
  for (;;) {
    const query = { ...filter, since, after, limit: String(PAGE) };
    try {
      const reply = await session.call({ method: 'GET', path: '/api/v1/events', query });
      const { events, next } = reply as Page;
      if (isSilent) onSilence(null);
      isSilent = false;
      if (events.length > 0) onEvents(events);
      after = next;
      if (events.length === PAGE) continue;
      since = undefined;
    } catch (error) {
      if (!(error instanceof UnansweredError)) throw error;
      if (!isSilent) onSilence(error.message);
      isSilent = true;
    }
    await sleep(EVERY_MS);
  }
}
