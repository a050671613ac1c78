import { CHILD_LOG, runAsChild } from '@countersign/operations';
import type { CertificateNotice } from '@countersign/tls';
import { pino } from 'pino';
import { askKeys } from './ask-keys.ts';
import type { WrappedKeyMessage } from './members/supervisor-line.ts';
import type {
  AgentConfig,
  DiskReport,
  GenerationMessage,
  KeysMessage,
  SealedGeneration,
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

const GENERATION_MS = 5000;

/** Made by the supervisor, which answers in the order it was asked. */
async function makeGeneration(): Promise<SealedGeneration> {
  const made = Promise.withResolvers<SealedGeneration>();
  const hear = (message: GenerationMessage | { type: '' }) => {
    if (message.type === 'generation') made.resolve(message.generation);
  };
  const giveUp = () => made.reject(new Error('the supervisor made no key'));
  const deadline = setTimeout(giveUp, GENERATION_MS);
  process.on('message', hear);
  try {
    process.send?.({ type: 'make-generation' }, undefined, undefined, () => {});
    return await made.promise;
  } finally {
    clearTimeout(deadline);
    process.off('message', hear);
  }
}
