export { AGENT_KEYS } from './config.ts';
export type { AgentConfig, DiskReport, LogServerHealth } from './config.ts';
