import { describe, expect, it } from 'vitest';
import { report } from '../harness/report.ts';
import { planFaults } from '../soak/plan-faults.ts';
import { runSoak } from '../soak/run-soak.ts';

const SEED = Number(process.env.COUNTERSIGN_SEED ?? 1);
const MINUTES = process.env.COUNTERSIGN_LONG === '1' ? 60 : 1;

describe('random faults on random nodes', () => {
  it('come in the same order for the same seed', () => {
    const nodes = ['node-1', 'node-2', 'node-3'];
    const take = (seed: number) =>
      planFaults({ seed, nodes, kinds: ['kill', 'pause', 'cut', 'slow', 'clock'] })
        .take(50)
        .toArray();
    expect(take(7)).toEqual(take(7));
    expect(take(7)).not.toEqual(take(8));
  });

  it(
    'leave one history: nothing lost, nothing twice, equal digests',
    { timeout: (MINUTES + 4) * 60_000 },
    async () => {
      const log = (line: string) => console.log(`soak: ${line}`);
      log(`seed ${SEED}`);
      const { faults, ...figures } = await runSoak({ seed: SEED, minutes: MINUTES, log });
      const struck = Object.fromEntries(
        Object.entries(faults).map(([kind, n]) => [`faults.${kind}`, n]),
      );
      report(`soak of ${MINUTES} minutes, seed ${SEED}`, { ...figures, ...struck });
      expect(figures.quietPoints).toBeGreaterThan(0);
      expect(figures.rounds).toBeGreaterThan(2);
      expect(figures.approved).toBeGreaterThan(100 * MINUTES);
    },
  );
});
