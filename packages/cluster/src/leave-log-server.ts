import { setTimeout as sleep } from 'node:timers/promises';
import { ask, readStreamState, type StreamState } from './jetstream.ts';
import type { NatsLink } from './nats-link.ts';

export type LeavingOptions = {
  link: NatsLink;
  streams: readonly string[];
  /** The node whose log server is about to stop. */
  node: string;
  timeoutMs: number;
};

const TIMEOUT_MS = 500;
const LOOK_EVERY_MS = 50;

/**
 * Waits until every other server of these streams that is there is up to date: a leader that stops hands its place
 * over, and one that has only just been started cannot take it, which costs an election of 4-8 s. False after
 * `timeoutMs`.
 */
export async function untilOthersAreCurrent(options: LeavingOptions): Promise<boolean> {
  return onEach(options, ({ servers }) =>
    servers.every(
      ({ name, isCurrent, isOffline }) => isCurrent || isOffline || name === options.node,
    ),
  );
}

/** Has another server lead each of these streams while this one is still there. False after `timeoutMs`. */
export async function moveLeadersAway(options: LeavingOptions): Promise<boolean> {
  const { link, node } = options;
  return onEach(options, async ({ servers }, stream) => {
    const canMove = servers.some(({ name, isCurrent }) => isCurrent && name !== node);
    if (!canMove || servers[0]?.name !== node) return true;
    await ask(link, `STREAM.LEADER.STEPDOWN.${stream}`, {}, TIMEOUT_MS).catch(() => null);
    return false;
  });
}

/** A stream that has no leader to begin with is left alone: nothing that is done here helps it. */
async function onEach(
  { link, streams, timeoutMs }: LeavingOptions,
  isDone: (state: StreamState, stream: string) => boolean | Promise<boolean>,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  const outcomes = streams.map(async (stream) => {
    let state = await readStreamState(link, stream, TIMEOUT_MS);
    if (!state?.hasLeader) return true;
    while (!state?.hasLeader || !(await isDone(state, stream))) {
      if (performance.now() >= deadline) return false;
      await sleep(LOOK_EVERY_MS);
      state = await readStreamState(link, stream, TIMEOUT_MS);
    }
    return true;
  });
  return !(await Promise.all(outcomes)).includes(false);
}
