import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestNode } from './cluster.ts';

const CLI = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url));
const TIMEOUT_MS = 200_000;

export type CliResult = { code: number; stdout: string; stderr: string };

/** `countersign …` as an operator at this node types it, over the node's own socket. */
export function runCli(node: TestNode, args: string[]): Promise<CliResult> {
  const env = { ...process.env, COUNTERSIGN_SOCKET: join(node.folder, 'countersign.sock') };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [CLI, ...args],
      { env, timeout: TIMEOUT_MS },
      (error, stdout, stderr) => {
        const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0;
        resolve({ code, stdout, stderr });
      },
    );
  });
}
