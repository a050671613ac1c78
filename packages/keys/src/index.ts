export { createClusterKeyFile, readClusterKey } from './cluster-key.ts';
export type { ClusterKey } from './cluster-key.ts';
export { deriveKeys } from './derive-keys.ts';
export type { KeyPurpose, PurposeKey } from './derive-keys.ts';
export { KeyError } from './key-error.ts';
export type { KeyErrorCode } from './key-error.ts';
export { keyedHash, passwordFor } from './keyed-hash.ts';
export { open, seal } from './seal.ts';
