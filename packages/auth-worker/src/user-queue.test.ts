import { describe, expect, it } from 'vitest';
import { UserQueue } from './user-queue.ts';

/** Work that ends when it is told to, and notes when it began. */
function heldWork(begun: string[], name: string) {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const work = () => {
    begun.push(name);
    return promise;
  };
  return { work, end: () => resolve(name), fail: () => reject(new Error(name)) };
}

describe('the queue of a user', () => {
  it('runs one step at a time, in the order they came', async () => {
    const queue = new UserQueue();
    const begun: string[] = [];
    const steps = ['a', 'b', 'c'].map((name) => heldWork(begun, name));
    const results = steps.map(({ work }) => queue.run('alice', work));
    for (const [i, step] of steps.entries()) {
      step.end();
      await results[i];
      // The next one has not ended, so nothing after it has begun.
      expect(begun.length).toBeLessThanOrEqual(i + 2);
    }
    expect(await Promise.all(results)).toEqual(['a', 'b', 'c']);
    expect(begun).toEqual(['a', 'b', 'c']);
  });

  it('lets four wait and takes no fifth, which does not run later either', async () => {
    const queue = new UserQueue();
    const begun: string[] = [];
    const steps = Array.from({ length: 6 }, (_, i) => heldWork(begun, String(i)));
    const results = steps.map(({ work }) => queue.run('alice', work));
    expect(results.map((result) => result === null)).toEqual([...Array(5).fill(false), true]);
    for (const step of steps) step.end();
    await Promise.all(results);
    expect(begun).toEqual(['0', '1', '2', '3', '4']);
  });

  it('tells a step whether it had to wait for another', async () => {
    const queue = new UserQueue();
    const told = async (hasWaited: boolean) => hasWaited;
    expect(await Promise.all([queue.run('alice', told), queue.run('alice', told)])).toEqual([
      false,
      true,
    ]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(await queue.run('alice', told)).toBe(false);
  });

  it('of one user says nothing about another', async () => {
    const queue = new UserQueue();
    const begun: string[] = [];
    const steps = Array.from({ length: 5 }, (_, i) => heldWork(begun, String(i)));
    const results = steps.map(({ work }) => queue.run('alice', work));
    expect(queue.run('alice', async () => 'too many')).toBeNull();
    expect(await queue.run('bob', async () => 'served')).toBe('served');
    for (const step of steps) step.end();
    await Promise.all(results);
  });

  it('goes on after a step that threw, and tells only its own caller', async () => {
    const queue = new UserQueue();
    const failing = heldWork([], 'broken');
    const first = queue.run('alice', failing.work)!;
    const second = queue.run('alice', async () => 'served')!;
    failing.fail();
    await expect(first).rejects.toThrow('broken');
    expect(await second).toBe('served');
  });

  it('has room again as soon as steps have ended', async () => {
    const queue = new UserQueue();
    for (let round = 0; round < 3; round += 1) {
      const results = Array.from({ length: 5 }, () => queue.run('alice', async () => 'served'));
      expect(queue.run('alice', async () => 'too many')).toBeNull();
      expect(await Promise.all(results)).toEqual(Array(5).fill('served'));
    }
  });
});
