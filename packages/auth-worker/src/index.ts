export type { WorkerConfig } from './config.ts';
