import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { writePrivateFile } from '@countersign/private-files';

import { demoUsername } from './demo-api.ts';
import type { DemoNode } from './demo-layout.ts';
import type { DemoState } from './demo-state.ts';
import { readRunFile, type NodePids } from './run-file.ts';

/** A node in `demo.json`; one that was stopped in order has no processes. */
export type DemoFileNode = Omit<NodePids, 'supervisorPid'> & {
  name: string;
  url: string;
  supervisorPid: number | null;
};

/** Where a node takes sign-ins over RADIUS, and what it shares with whoever asks there. */
export type DemoRadius = { host: string; port: number; secret: string };

const stopped = {
  supervisorPid: null,
  agentPid: null,
  workerPids: [],
  natsPid: null,
  postgresPid: null,
};

/** What is known of a demo's processes now. */
export function readDemoNodes(nodes: readonly DemoNode[]): DemoFileNode[] {
  return nodes.map(({ name, url, runFile }) => ({
    name,
    url,
    ...(readRunFile(runFile) ?? stopped),
  }));
}

/**
 * `demo.json`: how to reach and sign in to a running demo. It is there only while the demo is ready,
 * so that its appearance can be waited for.
 */
export function writeDemoFile(
  directory: string,
  content: {
    apiKey: string;
    nodes: DemoFileNode[];
    otpauth: string;
    admin: DemoState['administrator'];
    radius: DemoRadius[];
  },
): void {
  const { apiKey, nodes, otpauth, admin, radius } = content;
  const user = { username: demoUsername, password: null, otpauth };
  const text = JSON.stringify({ apiKey, nodes, user, admin, radius }, null, 2);
  writePrivateFile(join(directory, 'demo.json'), `${text}\n`);
}

export function removeDemoFile(directory: string): void {
  rmSync(join(directory, 'demo.json'), { force: true });
}
