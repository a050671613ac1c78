import { setTimeout as wait } from 'node:timers/promises';

import { EngineError } from './engine-error.ts';
import { lastLogLine } from './log-tail.ts';
import type { SupervisedProcess } from './spawn-supervised.ts';

/**
 * Waits until `isReady` is true. When the process ends before, or the deadline passes, it is
 * stopped and EngineError tells the last complaint in its log.
 */
export async function untilReady(options: {
  what: string;
  process: SupervisedProcess;
  isReady: () => Promise<boolean>;
  deadlineMs: number;
  logFile: string;
  logFromByte: number;
  complaint: RegExp;
}): Promise<void> {
  const { what, logFile } = options;
  const giveUpAt = performance.now() + options.deadlineMs;
  while (options.process.isRunning() && performance.now() < giveUpAt) {
    if (await options.isReady()) return;
    await wait(20);
  }
  const hasEnded = !options.process.isRunning();
  await options.process.stop();
  const line = await lastLogLine(logFile, options.logFromByte, options.complaint);
  const how = hasEnded ? 'ended at its start' : `was not ready in ${options.deadlineMs / 1000} s`;
  throw new EngineError(`${what} ${how}: ${line?.trim() ?? 'it gave no reason'} (${logFile})`);
}
