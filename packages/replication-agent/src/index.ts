export { AGENT_KEYS } from './config.ts';
export type { AgentConfig } from './config.ts';
