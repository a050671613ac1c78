export { askExamination } from './ask-examination.ts';
export { authenticateKey } from './authenticate-key.ts';
export { hashApiKey, sealerOf, seedContext } from './keys.ts';
export { newEvent } from './new-event.ts';
export { runCommand, type CommandPath } from './send-command.ts';
export { replicaPorts, type ReplicaPorts } from './replica-ports.ts';
export { LAST_FULL_KEY } from './stop-without-master.ts';
export { CHILD_LOG, runAsChild } from './run-as-child.ts';
