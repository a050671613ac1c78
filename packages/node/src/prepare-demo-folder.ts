import { chmodSync, copyFileSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { createClusterKeyFile } from '@countersign/keys';

import { writeNodeConfig } from './config.ts';
import type { DemoNode } from './demo-layout.ts';
import { demoOutboxFiles } from './demo-outbox.ts';
import {
  demoStateFiles,
  isDemoFolder,
  readDemoState,
  writeDemoState,
  type DemoState,
} from './demo-state.ts';
import { findLockHolder } from './lock-folder.ts';
import { makeDataFolder } from './make-data-folder.ts';
import { NodeError } from './node-error.ts';

/**
 * Puts configurations and one shared cluster key into the folders of the nodes, and returns what an
 * earlier run of the same demo left. With `fresh` that is thrown away first.
 * Throws NodeError where the folder holds something else, or a demo of another size.
 */
export function prepareDemoFolder(options: {
  directory: string;
  nodes: readonly DemoNode[];
  fresh: boolean;
}): DemoState {
  const { directory, nodes } = options;
  if (options.fresh) clearDemoFolder(directory);
  const state = readDemoState(directory) ?? beginDemo(directory, nodes.length);
  if (state.nodes !== nodes.length) {
    throw new NodeError(
      `${directory} holds a demo of ${state.nodes} nodes: ` +
        `continue it with --nodes ${state.nodes}, or begin anew with --fresh`,
    );
  }
  for (const node of nodes) {
    makeDataFolder(node.folder);
    writeNodeConfig(node.configFile, node.config);
  }
  shareClusterKey(nodes);
  return state;
}

function clearDemoFolder(directory: string): void {
  const entries = readdirSync(directory);
  const folders = entries.filter((name) => /^node-[1-5]$/.test(name));
  if (folders.length > 0 && !isDemoFolder(directory)) throw notADemo(directory);
  for (const name of folders) {
    const holder = findLockHolder(join(directory, name), 'supervisor');
    if (holder === undefined) continue;
    throw new NodeError(`${name} in ${directory} still runs (process ${holder}): stop it first`);
  }
  // The marker last: a removal that was cut short can be repeated.
  for (const name of [...folders, 'demo.json', ...demoOutboxFiles, ...demoStateFiles]) {
    rmSync(join(directory, name), { recursive: true, force: true });
  }
}

function beginDemo(directory: string, nodes: number): DemoState {
  if (readdirSync(directory).some((name) => /^node-[1-5]$/.test(name))) throw notADemo(directory);
  const nothing = { apiKey: null, authenticator: null, radiusSecret: null };
  const state = { nodes, ...nothing, invitation: null, administrator: null };
  writeDemoState(directory, state);
  return state;
}

function notADemo(directory: string): NodeError {
  return new NodeError(
    `${directory} holds nodes that belong to no demo: choose another folder with --dir`,
  );
}

function shareClusterKey(nodes: readonly DemoNode[]): void {
  const files = nodes.map(({ folder }) => join(folder, 'cluster.key'));
  const [first] = files;
  const source = files.find((file) => existsSync(file)) ?? first;
  if (source === undefined) return;
  // A node that has data but lost its key refuses to start; only a new demo gets a new one.
  const isNew = nodes.every(({ folder }) => !existsSync(join(folder, 'postgres')));
  if (!existsSync(source) && isNew) createClusterKeyFile(source);
  if (!existsSync(source)) return;
  for (const file of files) {
    if (existsSync(file)) continue;
    copyFileSync(source, file);
    chmodSync(file, 0o600);
  }
}
