import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { spawnSupervised } from '@countersign/engines';

import type { DemoNode } from './demo-layout.ts';
import { describeExit } from './keep-running.ts';
import type { SupervisorMessage } from './supervisor-events.ts';

/** The supervisor of one node, as a child of the demo. */
export interface DemoSupervisor {
  node: DemoNode;
  /** Resolves with the reason when a part keeps failing, or when the supervisor has ended. */
  failed: Promise<string>;
  /** Resolves with the reason when the supervisor has ended, however it did. */
  ended: Promise<string>;
  /** The last thing that went wrong in the node, if anything did. */
  lastProblem(): string | undefined;
  stop(): Promise<void>;
  kill(): void;
}

// A supervisor stops its node within 20 s.
const stopTimeoutMs = 22_000;

export async function startDemoSupervisor(
  node: DemoNode,
  on: { firstApiKey(key: string): void; firstInvitation(code: string): void },
): Promise<DemoSupervisor> {
  let problem: string | undefined;
  let failure: string | undefined;
  const lasting = Promise.withResolvers<string>();
  const supervised = await spawnSupervised({
    command: process.execPath,
    args: [fileURLToPath(new URL('./main.ts', import.meta.url)), node.configFile],
    ipc: true,
    // All nodes share this machine: a log server of one thread each is enough, and starts more surely.
    env: { GOMAXPROCS: '1', ...process.env },
    logFile: join(node.folder, 'logs', 'console.log'),
    stopSignal: 'SIGTERM',
    stopTimeoutMs,
    // Even if the demo is killed, its nodes stop in order.
    parentDeathSignal: 'SIGTERM',
  });
  supervised.child.on('message', (message: SupervisorMessage) => {
    if (message.type === 'first-api-key') on.firstApiKey(message.key);
    if (message.type === 'first-invitation') on.firstInvitation(message.code);
    if (message.type === 'failed') failure = message.message;
    if (message.type !== 'problem') return;
    problem = message.message;
    if (message.isLasting) lasting.resolve(message.message);
  });
  const { child } = supervised;
  // Its last words may still be on their way when the process has gone.
  const silent = child.connected ? once(child, 'disconnect') : Promise.resolve();
  const ended = Promise.all([supervised.exited, silent]).then(
    ([exit]) => failure ?? describeExit(exit),
  );
  return {
    node,
    failed: Promise.race([lasting.promise, ended]),
    ended,
    lastProblem: () => problem,
    stop: () => supervised.stop(),
    kill: () => child.kill('SIGKILL'),
  };
}
