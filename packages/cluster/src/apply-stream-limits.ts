import type { StreamLimits } from './incarnation.ts';
import { ask } from './jetstream.ts';
import type { NatsLink } from './nats-link.ts';
import { namesOf } from './names.ts';

const TIMEOUT_MS = 2000;
/** A stream is never cut to where it would already be an alarm. */
const MAX_FILL = 0.8;

/**
 * Brings existing streams to the configured limits; for the master alone, or nodes of different opinions would go
 * back and forth. Returns what could not be done, one line each. Throws {@link SilenceError}: call again.
 */
export async function applyStreamLimits(
  link: NatsLink,
  incarnationNumber: number,
  limits: StreamLimits,
): Promise<string[]> {
  const names = namesOf(incarnationNumber);
  const problems: string[] = [];
  // The small one first: where the server's own limit is tight, that makes room for the others.
  const wanted = [
    { stream: names.events, key: 'eventsBytes' as const, keepsAll: false },
    { stream: names.changes, key: 'changesBytes' as const, keepsAll: true },
    { stream: names.states, key: 'statesBytes' as const, keepsAll: true },
  ];
  for (const { stream, key, keepsAll } of wanted) {
    const problem = await applyLimit(link, { stream, maxBytes: limits[key], keepsAll });
    if (problem !== null) problems.push(`limits.${key} is not in force: ${problem}`);
  }
  return problems;
}

async function applyLimit(
  link: NatsLink,
  wanted: { stream: string; maxBytes: number; keepsAll: boolean },
): Promise<string | null> {
  const { stream, maxBytes, keepsAll } = wanted;
  const found = await ask(link, `STREAM.INFO.${stream}`, {}, TIMEOUT_MS);
  if (found.error || !found.config) return found.error?.description ?? `${stream} is not described`;
  if (found.config.max_bytes === maxBytes) return null;
  const usedBytes = found.state?.bytes ?? 0;
  if (keepsAll && usedBytes > maxBytes * MAX_FILL) {
    return `${stream} holds ${usedBytes} bytes already, ${maxBytes} are too few for it`;
  }
  const config = { ...found.config, max_bytes: maxBytes };
  const changed = await ask(link, `STREAM.UPDATE.${stream}`, config, TIMEOUT_MS);
  return changed.error ? `${stream}: ${changed.error.description}` : null;
}
