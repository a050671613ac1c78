import { CHILD_LOG, runAsChild } from '@countersign/operations';
import { pino } from 'pino';
import type { AgentConfig, DiskReport } from './config.ts';
import { runAgent } from './run-agent.ts';

runAsChild<AgentConfig>((config, signal) =>
  runAgent(config, {
    log: pino(
      { level: config.logLevel, base: { node: config.node, process: 'agent' } },
      pino.destination(CHILD_LOG),
    ),
    signal,
    tellLayout: (layout) => process.send?.({ type: 'log-layout', layout }),
    showApiKey: (key) => process.send?.({ type: 'first-api-key', key }),
    restartLogServer: () => process.send?.({ type: 'log-server-mute' }),
    tellSupervisor: (message) => {
      if (process.connected) process.send?.(message, undefined, undefined, () => {});
    },
    onDisks: (listener) => {
      process.on('message', (message: { type: string; disks?: DiskReport[] }) => {
        if (message.type === 'disks' && message.disks) listener(message.disks);
      });
    },
  }),
);
