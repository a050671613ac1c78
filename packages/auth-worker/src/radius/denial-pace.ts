import { setTimeout as sleep } from 'node:timers/promises';
import { holdUntilNextMark } from '@countersign/api';

const REMEMBERED_MS = 300_000;
/** Whoever mistypes a code waits as long; FreeRADIUS, for one, holds a refusal back for 1 s. */
const HELD_MAX_MS = 3000;

type Slowest = { tookMs: number; at: number };

/**
 * Denials of a client take as long as its slowest wrong password of the last 5 to 10 minutes, up to 3 s, and then to the
 * next mark: whom no directory and no server is asked about is not told from whom one was (rule 13).
 */
export class DenialPace {
  /** By client: of these 5 minutes, and those before. */
  readonly #slowest = new Map<string, [Slowest, Slowest]>();

  /** A first factor was asked, and refused. */
  note(clientId: string, tookMs: number, now = performance.now()): void {
    const none = { tookMs: 0, at: now };
    const [latest, before] = this.#slowest.get(clientId) ?? [none, none];
    const isOver = now - latest.at >= REMEMBERED_MS;
    const current = isOver ? none : latest;
    const slower = { tookMs: Math.max(current.tookMs, tookMs), at: current.at };
    this.#slowest.set(clientId, [slower, isOver ? latest : before]);
  }

  /** Of a client, in ms. */
  of(clientId: string, now = performance.now()): number {
    const known = (this.#slowest.get(clientId) ?? []).filter(
      ({ at }) => now - at < 2 * REMEMBERED_MS,
    );
    return Math.min(HELD_MAX_MS, Math.max(0, ...known.map(({ tookMs }) => tookMs)));
  }

  async hold(clientId: string, startedAtMs: number): Promise<void> {
    const leftMs = startedAtMs + this.of(clientId) - performance.now();
    if (leftMs > 0) await sleep(leftMs);
    await holdUntilNextMark(startedAtMs);
  }
}
