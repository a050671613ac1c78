import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';

/** Our Node with these arguments; asked to stop (SIGTERM) should this test run be killed. */
export function spawnBound(args: readonly string[], options: SpawnOptions): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'TERM', '--', process.execPath, ...args], options);
}
