import { runAsChild } from '@countersign/operations';
import { pino } from 'pino';
import type { WorkerConfig } from './config.ts';
import { runWorker } from './run-worker.ts';

runAsChild<WorkerConfig>((config, signal) => {
  const base = { node: config.node, process: `worker-${config.index}` };
  return runWorker(config, { log: pino({ level: config.logLevel, base }), signal });
});
