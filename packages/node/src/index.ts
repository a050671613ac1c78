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

/** Runs one node; see run-node.ts, which is loaded here so that a demo starts without it. */
export async function runNode(options: { configFile: string }): Promise<void> {
  const node = await import('./run-node.ts');
  await node.runNode(options);
}
