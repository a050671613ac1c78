export { WORKER_KEYS } from './config.ts';
export type { WorkerConfig } from './config.ts';
