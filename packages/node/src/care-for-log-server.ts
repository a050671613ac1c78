import type { DiskReport, LogServerHealth } from '@countersign/replication-agent';

/** A disk that has had room for this long has room. */
const roomMs = 2_000;
/** A server that stays behind the others this long without getting nearer does not really work. */
const behindMs = 30_000;
const restartAtMostEveryMs = 60_000;

/**
 * Decides how this node's nats-server should run. On a full disk without its store: a nats-server
 * that meets a full disk spoils what it knows of its streams, and after its next start deletes them
 * as orphans. And it is started again when it falls behind for good though it says it is well; that
 * is judged by the others' word alone.
 */
export class LogServerCare {
  #hasRoom = true;
  #roomSince = -Infinity;
  #behindSince: number | null = null;
  #restartedAt = -Infinity;

  /** Whether it may use its store. */
  get hasRoom(): boolean {
    return this.#hasRoom;
  }

  /** Returns why it has to be started again with or without its store; null if nothing changes. */
  noteDisk(state: DiskReport['state'], now: number): string | null {
    const hadRoom = this.#hasRoom;
    if (state === 'full') {
      this.#hasRoom = false;
      this.#roomSince = Infinity;
      return hadRoom ? 'its disk is full: it goes on without its store' : null;
    }
    this.#roomSince = Math.min(this.#roomSince, now);
    if (hadRoom || now - this.#roomSince < roomMs) return null;
    this.#hasRoom = true;
    return 'its disk has room again: it goes on with its store';
  }

  /** Returns why it has to be started again, at most once a minute; null if not. */
  noteHealth(health: LogServerHealth, now: number): string | null {
    if (health !== 'behind' || !this.#hasRoom) this.#behindSince = null;
    else this.#behindSince ??= now;
    if (this.#behindSince === null || now - this.#behindSince < behindMs) return null;
    if (now - this.#restartedAt < restartAtMostEveryMs) return null;
    this.#behindSince = null;
    this.#restartedAt = now;
    return 'the others go on without it, although it runs';
  }
}
