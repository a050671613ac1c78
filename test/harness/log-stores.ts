import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '@countersign/testing';
import type { TestNode } from './cluster.ts';
import { isAlive, signal } from './processes.ts';

/** Copies of log servers' stores as they were on disk at one moment, all servers standing still. */
export function copyLogStores(nodes: TestNode[]): StoreCopy[] {
  const pids = nodes.map((node) => node.pids.natsPid);
  signal(pids, 'SIGSTOP');
  try {
    return nodes.map((node) => {
      const copy = `${storeOf(node)}.copy`;
      copyFolder(storeOf(node), copy);
      return { node, copy };
    });
  } finally {
    signal(pids, 'SIGCONT');
  }
}

export type StoreCopy = { node: TestNode; copy: string };

/** Kills these log servers and gives each its older store while its supervisor cannot start it again. */
export async function loseSinceCopy(copies: StoreCopy[]): Promise<void> {
  const supervisors = copies.map(({ node }) => node.pids.supervisorPid);
  const servers = copies.map(({ node }) => node.pids.natsPid!);
  signal(supervisors, 'SIGSTOP');
  signal(servers, 'SIGKILL');
  await waitFor('the log servers to be gone', () => servers.every((pid) => !isAlive(pid)), {
    timeoutMs: 5000,
  });
  for (const copy of copies) putBack(copy);
  signal(supervisors, 'SIGCONT');
}

/** The server must not run. */
export function putBack({ node, copy }: StoreCopy): void {
  copyFolder(copy, storeOf(node));
}

/** With its owners, modes and times: the engines run as another user. */
export function copyFolder(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  execFileSync('cp', ['--archive', from, to]);
}

/** The store of the node's log server in the layout that it noted last. */
export function storeOf(node: TestNode): string {
  const noted = JSON.parse(readFileSync(join(node.folder, 'log-layout.json'), 'utf8')) as {
    layout: { tag: string };
  };
  return join(node.folder, 'nats', noted.layout.tag);
}
