import { CHILD_LOG, runAsChild } from '@countersign/operations';
import { pino } from 'pino';
import type { WorkerConfig } from './config.ts';
import { runWorker } from './run-worker.ts';

runAsChild<WorkerConfig>((config, signal) => {
  const base = { node: config.node, process: `worker-${config.index}` };
  const log = pino({ level: config.logLevel, base }, pino.destination(CHILD_LOG));
  return runWorker(config, { log, signal });
});
