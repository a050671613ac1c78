import { existsSync } from 'node:fs';

export {
  parseNodeConfig,
  readNodeConfig,
  writeNodeConfig,
  type LogServer,
  type NodeConfig,
  type NodeConfigInput,
} from './config.ts';
export { unwrapKeyRing } from './key-ring.ts';
import type { ExaminedNode } from '@countersign/doctor';
import type { JoinOptions } from './join-cluster.ts';
import { findLockHolder } from './lock-folder.ts';
import type { NewNode } from './prepare-membership.ts';

export { NodeError } from './node-error.ts';
export { runDemo, type DemoOptions } from './run-demo.ts';
export { readRunFile, type NodePids } from './run-file.ts';

/** Makes a node out of a backup; see restore-node.ts, loaded here for the same reason as below. */
export async function restoreNode(
  options: Parameters<typeof import('./restore-node.ts').restoreNode>[0],
): ReturnType<typeof import('./restore-node.ts').restoreNode> {
  const restore = await import('./restore-node.ts');
  return restore.restoreNode(options);
}

/** Runs one node; see run-node.ts, which is loaded here so that a demo starts without it. */
export async function runNode(options: { configFile: string }): Promise<void> {
  const node = await import('./run-node.ts');
  await node.runNode(options);
}

/** Runs a witness; see run-witness.ts, which is loaded here for the same reason. */
export async function runWitness(options: { configFile: string }): Promise<void> {
  const witness = await import('./run-witness.ts');
  await witness.runWitness(options);
}

/** Founds a cluster; see found-cluster.ts, which is loaded here for the same reason. */
export async function foundCluster(node: NewNode) {
  return (await import('./found-cluster.ts')).foundCluster(node);
}

/** Makes this machine a member; see join-cluster.ts. */
export async function joinCluster(options: JoinOptions) {
  return (await import('./join-cluster.ts')).joinCluster(options);
}

/** Whether a node or witness runs in that data directory, as its lock says. */
export async function isSupervised(dataDirectory: string): Promise<boolean> {
  if (!existsSync(dataDirectory)) return false;
  return findLockHolder(dataDirectory, 'supervisor') !== undefined;
}

/** The account of an operator's own NATS; see nats-accounts.ts. */
export async function describeNatsAccount(configFile: string): Promise<string> {
  return (await import('./nats-accounts.ts')).describeNatsAccount(configFile);
}

/** What `doctor` looks at, by a node's configuration; loaded here so that a demo starts without it. */
export async function readExaminedNode(configFile: string): Promise<ExaminedNode> {
  const examined = await import('./examined-node.ts');
  return examined.readExaminedNode(configFile);
}
