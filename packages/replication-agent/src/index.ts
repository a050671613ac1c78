export type { AgentConfig } from './config.ts';
