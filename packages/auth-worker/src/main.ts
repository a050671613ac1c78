import { CHILD_LOG, runAsChild } from '@countersign/operations';
import { pino } from 'pino';
import type { CertificatesMessage, KeysMessage, WorkerConfig } from './config.ts';
import { runWorker } from './run-worker.ts';

runAsChild<WorkerConfig>((config, signal) => {
  const base = { node: config.node, process: `worker-${config.index}` };
  const log = pino({ level: config.logLevel, base }, pino.destination(CHILD_LOG));
  return runWorker(config, {
    log,
    signal,
    onCertificates: (listener) => {
      process.on('message', (message: CertificatesMessage) => {
        if (message.type === 'certificates') listener(message);
      });
    },
    onKeys: (listener) => {
      process.on('message', (message: KeysMessage | { type: '' }) => {
        if (message.type === 'keys') listener(message.keys);
      });
    },
  });
});
