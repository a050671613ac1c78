import { CHILD_LOG, runAsChild } from '@countersign/operations';
import type { CertificateNotice } from '@countersign/tls';
import { pino } from 'pino';
import { askSupervisor } from './ask-supervisor.ts';
import type { WrappedKeyMessage } from './members/supervisor-line.ts';
import type {
  AgentConfig,
  DiskReport,
  GenerationMessage,
  KeysMessage,
  SealedGeneration,
  WholeKeysMessage,
} from './config.ts';
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
    showInvitation: (code) => process.send?.({ type: 'first-invitation', code }),
    restartLogServer: () => process.send?.({ type: 'log-server-mute' }),
    tellSupervisor: (message) => {
      if (process.connected) process.send?.(message, undefined, undefined, () => {});
    },
    onWrappedKey: (listener) => {
      process.on('message', (message: { type: string }) => {
        if (message.type === 'wrapped-cluster-key') listener(message as WrappedKeyMessage);
      });
    },
    onKeys: (listener) => {
      process.on('message', (message: KeysMessage | { type: '' }) => {
        if (message.type === 'keys') listener(message);
      });
    },
    makeGeneration,
    askKeys,
    onDisks: (listener) => {
      process.on('message', (message: { type: string; disks?: DiskReport[] }) => {
        if (message.type === 'disks' && message.disks) listener(message.disks);
      });
    },
    onCertificates: (listener) => {
      process.on('message', (message: { type: string; notices?: CertificateNotice[] }) => {
        if (message.type === 'certificates' && message.notices) listener(message.notices);
      });
    },
  }),
);

async function makeGeneration(): Promise<SealedGeneration> {
  const { generation } = await askSupervisor<GenerationMessage>({
    wanted: 'make-generation',
    answeredBy: 'generation',
    otherwise: 'the supervisor made no key',
  });
  return generation;
}

/** The cluster's keys as a backup holds them, of the supervisor, which alone has them whole. */
async function askKeys(): Promise<string> {
  const { text } = await askSupervisor<WholeKeysMessage>({
    wanted: 'whole-keys-wanted',
    answeredBy: 'whole-keys',
    otherwise: 'the supervisor did not say the keys of the cluster',
  });
  return text;
}
