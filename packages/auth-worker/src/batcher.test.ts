import { describe, expect, it } from 'vitest';
import { Batcher, OverloadError } from './batcher.ts';

/** A batcher whose batches wait until they are let go, and what they held. */
function heldBatcher(maxBatch = 10) {
  const batches: { items: number[]; finish(results: string[]): void; fail(error: Error): void }[] =
    [];
  const batcher = new Batcher<number, string>((items) => {
    const { promise, resolve, reject } = Promise.withResolvers<string[]>();
    batches.push({ items, finish: resolve, fail: reject });
    return promise;
  }, maxBatch);
  return { batcher, batches };
}

const named = (items: number[]) => items.map((item) => `result ${item}`);

describe('a batcher', () => {
  it('runs a lone item at once, in a batch of its own', async () => {
    const { batcher, batches } = heldBatcher();
    const one = batcher.add(1);
    expect(batches.map(({ items }) => items)).toEqual([[1]]);
    batches[0]!.finish(['done']);
    expect(await one).toBe('done');
  });

  it('gathers what comes while a batch runs, and gives each item its own result', async () => {
    const { batcher, batches } = heldBatcher();
    const first = batcher.add(0);
    const rest = [1, 2, 3].map((item) => batcher.add(item));
    expect(batches).toHaveLength(1);
    batches[0]!.finish(named([0]));
    await first;
    expect(batches.map(({ items }) => items)).toEqual([[0], [1, 2, 3]]);
    batches[1]!.finish(named([1, 2, 3]));
    expect(await Promise.all(rest)).toEqual(['result 1', 'result 2', 'result 3']);
  });

  it('takes no more than its bound into one batch, first come first served', async () => {
    const { batcher, batches } = heldBatcher(2);
    const all = [0, 1, 2, 3].map((item) => batcher.add(item));
    for (let i = 0; i < 3; i += 1) {
      batches[i]!.finish(named(batches[i]!.items));
      await all[Math.min(2 * i, 3)];
    }
    await Promise.all(all);
    expect(batches.map(({ items }) => items)).toEqual([[0], [1, 2], [3]]);
  });

  it('with a pause lets nobody wait who comes alone, and gathers what comes within it', async () => {
    const batches: number[][] = [];
    const startedAt: number[] = [];
    const batcher = new Batcher<number, number>(
      async (items) => {
        batches.push(items);
        startedAt.push(performance.now());
        return items;
      },
      10,
      50,
    );
    await batcher.add(0);
    expect(await Promise.all([batcher.add(1), batcher.add(2)])).toEqual([1, 2]);
    expect(batches).toEqual([[0], [1, 2]]);
    expect(startedAt[1]! - startedAt[0]!).toBeGreaterThanOrEqual(49);
  });

  it('fails only the items of the batch that failed, and goes on', async () => {
    const { batcher, batches } = heldBatcher();
    const first = batcher.add(0);
    const second = batcher.add(1);
    batches[0]!.fail(new Error('the store is away'));
    await expect(first).rejects.toThrow('the store is away');
    batches[1]!.finish(['done']);
    expect(await second).toBe('done');
  });

  it('refuses item 5,001 of those waiting, and takes more once a batch has gone', async () => {
    const { batcher, batches } = heldBatcher(5000);
    const running = batcher.add(-1);
    const waiting = Array.from({ length: 5000 }, (_, item) => batcher.add(item));
    await expect(batcher.add(5000)).rejects.toThrow(OverloadError);
    batches[0]!.finish(['done']);
    await running;
    const later = batcher.add(5001);
    batches[1]!.finish(named(batches[1]!.items));
    expect((await Promise.all(waiting)).at(-1)).toBe('result 4999');
    batches[2]!.finish(['late']);
    expect(await later).toBe('late');
  });
});
