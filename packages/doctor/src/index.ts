export { checkWithin, type Check } from './check-within.ts';
export { examineMachine, isNodeRunning } from './examine-machine.ts';
export { examineWitness, isWitness } from './examine-witness.ts';
export type { ExaminedLogServer, ExaminedNode } from './examined-node.ts';
export { critical, explain, fine, quote, warning, type Finding } from './finding.ts';
