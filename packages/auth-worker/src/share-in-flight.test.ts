import { expect, it } from 'vitest';
import { shareInFlight } from './share-in-flight.ts';

it('work that many ask for at once is done once, and anew for whoever comes later', async () => {
  const runs: PromiseWithResolvers<number>[] = [];
  const ask = shareInFlight(() => {
    const run = Promise.withResolvers<number>();
    runs.push(run);
    return run.promise;
  });
  const many = Array.from({ length: 100 }, ask);
  expect(runs).toHaveLength(1);
  runs[0]!.resolve(1);
  expect(new Set(await Promise.all(many))).toEqual(new Set([1]));

  const next = [ask(), ask()];
  expect(runs).toHaveLength(2);
  runs[1]!.reject(new Error('away'));
  for (const each of next) await expect(each).rejects.toThrow('away');
  void ask();
  expect(runs).toHaveLength(3);
});
