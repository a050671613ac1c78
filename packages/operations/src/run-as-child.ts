/** Time a child has to stop in order before it leaves anyway; less than the supervisor waits. */
const STOP_TIMEOUT_MS = 9000;

/**
 * For pino's destination: without waiting, because a supervisor that hangs must not stop anybody else; lines beyond
 * 1 MiB of waiting are dropped.
 */
export const CHILD_LOG = { dest: 1, sync: false, maxLength: 1024 * 1024 };

/** A supervisor that hears nothing for a while takes a process for hung. */
const PULSE_EVERY_MS = 1000;

type Message<C> = { type: 'start'; config: C } | { type: 'stop' };

/**
 * Runs a process that a supervisor started with an IPC channel: begins with `{ type: 'start', config }`, says
 * `{ type: 'ready' }` and then `{ type: 'pulse' }` every second, stops in order on `{ type: 'stop' }`, SIGTERM or
 * SIGINT, and dies with its supervisor.
 */
export function runAsChild<C>(
  start: (config: C, signal: AbortSignal) => Promise<{ stop(): Promise<void> }>,
): void {
  const stopping = new AbortController();
  let running: Promise<{ stop(): Promise<void> }> | null = null;

  process.on('message', (message: Message<C>) => {
    if (message.type === 'stop') stop();
    else if (message.type === 'start' && !running) {
      running = start(message.config, stopping.signal);
      running.catch(fail);
      process.send?.({ type: 'ready' });
      setInterval(() => {
        if (process.connected) process.send?.({ type: 'pulse' }, undefined, undefined, () => {});
      }, PULSE_EVERY_MS).unref();
    }
  });
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('disconnect', () => process.exit(1));

  function stop(): void {
    if (stopping.signal.aborted) return;
    stopping.abort();
    setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref();
    Promise.resolve(running)
      .then((started) => started?.stop())
      .then(() => process.exit(0), fail);
  }

  function fail(error: unknown): void {
    // Stopped before it had come up: nothing to report.
    if (stopping.signal.aborted) process.exit(0);
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    process.exit(1);
  }
}
