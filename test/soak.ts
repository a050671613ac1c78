import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { fuzz, repeatTests } from './soak/repeat-tests.ts';
import { runSoak } from './soak/run-soak.ts';

/**
 * `--minutes N` (default 60): random faults on random nodes under load, ending in the checker; `--seed S` repeats a
 * schedule. With `--only TEXT` the fault tests of those files are repeated instead; with `--fuzz` everything that is
 * read from outside gets a million broken inputs, and what reads RADIUS packets ten million.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string' },
    only: { type: 'string' },
    fuzz: { type: 'boolean', default: false },
  },
});
const minutes = Number(values.minutes);
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
if (!(minutes > 0) || !Number.isSafeInteger(seed)) {
  console.error('usage: npm run soak -- [--minutes N] [--seed S] [--only TEXT] | --fuzz');
  process.exitCode = 2;
} else if (values.fuzz) {
  process.exitCode = fuzz() ? 0 : 1;
} else if (values.only !== undefined) {
  process.exitCode = repeatTests(values.only, minutes) ? 0 : 1;
} else {
  console.log(`soak: seed ${seed}`);
  try {
    const log = (line: string) => console.log(`soak: ${line}`);
    const result = await runSoak({ seed, minutes, log, fillsDisks: true });
    console.log(`soak: the checker found nothing\n${JSON.stringify({ seed, ...result }, null, 2)}`);
  } catch (error) {
    console.error(`soak: FAILED, ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
