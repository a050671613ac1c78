import { runAsChild } from '@countersign/operations';
import { pino } from 'pino';
import type { AgentConfig } from './config.ts';
import { runAgent } from './run-agent.ts';

runAsChild<AgentConfig>((config, signal) =>
  runAgent(config, {
    log: pino({ level: config.logLevel, base: { node: config.node, process: 'agent' } }),
    signal,
    tellLayout: (layout) => process.send?.({ type: 'log-layout', layout }),
    showApiKey: (key) => process.send?.({ type: 'first-api-key', key }),
    restartLogServer: () => process.send?.({ type: 'log-server-mute' }),
  }),
);
