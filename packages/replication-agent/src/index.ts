export { AGENT_KEYS } from './config.ts';
export type {
  AgentConfig,
  DiskReport,
  GenerationMessage,
  KeyRingMessage,
  KeyRingReport,
  KeysMessage,
  LogServerHealth,
  SealedGeneration,
} from './config.ts';
export { sealAuthority } from './members/member-documents.ts';
export type { MemberMessage, WrappedKeyMessage } from './members/supervisor-line.ts';
export { watchLogServer } from './watch-log-server.ts';
export type { Founding } from './members/tend-members.ts';
