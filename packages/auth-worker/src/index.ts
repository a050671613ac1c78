export { WORKER_KEYS } from './config.ts';
export type { CertificatesMessage, WorkerConfig } from './config.ts';
