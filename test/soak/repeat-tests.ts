import { spawnSync } from 'node:child_process';

/**
 * Runs the fault tests whose file names contain `only` again and again at their full lengths: a test that fails one
 * time in ten is a bug. Returns whether all passed.
 */
export function repeatTests(only: string, minutes: number): boolean {
  const endAt = Date.now() + minutes * 60_000;
  let rounds = 0;
  let failed = 0;
  do {
    rounds += 1;
    const startedAt = Date.now();
    const isGood = runAtFullLength(['cluster', 'longer', 'faults'], [only]);
    if (!isGood) failed += 1;
    const seconds = Math.round((Date.now() - startedAt) / 1000);
    console.log(`soak: round ${rounds} ${isGood ? 'passed' : 'FAILED'} in ${seconds} s`);
  } while (Date.now() < endAt);
  console.log(`soak: ${rounds - failed} rounds passed, ${failed} failed`);
  return failed === 0;
}

/** Broken inputs by the million for whatever parses what comes from outside. Returns whether all passed. */
export function fuzz(): boolean {
  return runAtFullLength(
    ['unit'],
    ['hostile-files', 'sealed-challenge', 'twilio-callback', 'templates/templates', 'fuzz-packets'],
  );
}

function runAtFullLength(projects: string[], files: string[]): boolean {
  const { status } = spawnSync(
    process.execPath,
    [
      'node_modules/vitest/vitest.mjs',
      'run',
      ...projects.flatMap((project) => ['--project', project]),
      ...files,
    ],
    { stdio: 'inherit', env: { ...process.env, COUNTERSIGN_LONG: '1' } },
  );
  return status === 0;
}
