export { authenticateKey } from './authenticate-key.ts';
export { hashApiKey, sealerOf, seedContext } from './keys.ts';
export { runCommand, type CommandPath } from './send-command.ts';
export { replicaPorts } from './replica-ports.ts';
export { CHILD_LOG, runAsChild } from './run-as-child.ts';
