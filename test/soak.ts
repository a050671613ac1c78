import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

/**
 * Runs the fault tests again and again at their full lengths: a test that fails one time in ten is a bug.
 * `--minutes N` (default 60) bounds the time, `--only TEXT` chooses test files.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    only: { type: 'string', default: 'test/' },
  },
});
const endAt = Date.now() + Number(values.minutes) * 60_000;
let rounds = 0;
let failed = 0;
do {
  rounds += 1;
  const startedAt = Date.now();
  const { status } = spawnSync(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--project', 'cluster', values.only],
    { stdio: 'inherit', env: { ...process.env, COUNTERSIGN_LONG: '1' } },
  );
  if (status !== 0) failed += 1;
  const seconds = Math.round((Date.now() - startedAt) / 1000);
  console.log(`soak: round ${rounds} ${status === 0 ? 'passed' : 'FAILED'} in ${seconds} s`);
} while (Date.now() < endAt);
console.log(`soak: ${rounds - failed} rounds passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
