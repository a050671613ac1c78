export {
  parseNodeConfig,
  readNodeConfig,
  writeNodeConfig,
  type LogServer,
  type NodeConfig,
  type NodeConfigInput,
} from './config.ts';
export { NodeError } from './node-error.ts';
export { runDemo, type DemoOptions } from './run-demo.ts';
export { readRunFile, type NodePids } from './run-file.ts';
export { runNode } from './run-node.ts';
