import { describe, expect, it } from 'vitest';

import { KeptRunning } from './keep-running.ts';

describe('a part that is kept running', () => {
  it('is started again with a wait that doubles', async () => {
    const waits: number[] = [];
    const third = Promise.withResolvers<void>();
    const part = new KeptRunning({
      start: async (onExit) => {
        if (waits.length === 2) third.resolve();
        else onExit({ code: 1, signal: null });
        return { stop: async () => {} };
      },
      onEnd: (how, backOffMs) => {
        expect(how).toBe('ended (exit code 1)');
        waits.push(backOffMs);
      },
    });
    await third.promise;
    expect(waits).toEqual([200, 400]);
    await part.stop();
  });

  it('is tried again when it does not even start', async () => {
    let tries = 0;
    const part = new KeptRunning({
      start: async () => {
        tries += 1;
        if (tries === 1) throw new Error('not yet');
        return { stop: async () => {} };
      },
      onEnd: (how) => expect(how).toBe('did not start: not yet'),
    });
    await part.firstStart;
    expect(tries).toBe(2);
    await part.stop();
  });

  it('tells a first start that failed when it must start', async () => {
    const part = new KeptRunning({
      mustStart: true,
      start: () => Promise.reject(new Error('no disk')),
      onEnd: () => expect.unreachable(),
    });
    await expect(part.firstStart).rejects.toThrow('no disk');
    await part.stop();
  });

  it('is stopped once, also when it was still starting', async () => {
    let stops = 0;
    const begun = Promise.withResolvers<void>();
    const part = new KeptRunning({
      start: async () => {
        await begun.promise;
        return { stop: async () => void (stops += 1) };
      },
      onEnd: () => expect.unreachable(),
    });
    const stopped = part.stop();
    begun.resolve();
    await stopped;
    await part.stop();
    expect(stops).toBe(1);
  });

  it('is not started again after it was stopped while waiting', async () => {
    const ended = Promise.withResolvers<void>();
    let starts = 0;
    const part = new KeptRunning({
      start: async (onExit) => {
        starts += 1;
        onExit({ code: null, signal: 'SIGKILL' });
        return { stop: async () => {} };
      },
      onEnd: () => ended.resolve(),
    });
    await ended.promise;
    await part.stop();
    expect(starts).toBe(1);
  });

  it('is stopped in order and started again when it should be', async () => {
    const again = Promise.withResolvers<void>();
    const steps: string[] = [];
    const part = new KeptRunning({
      start: async () => {
        steps.push('start');
        if (steps.length > 1) again.resolve();
        return { stop: async () => void steps.push('stop') };
      },
      onEnd: (how) => steps.push(how),
    });
    await part.firstStart;
    // It runs from the next turn on.
    await new Promise(setImmediate);
    part.restart('it lies');
    await again.promise;
    expect(steps).toEqual(['start', 'stop', 'was stopped: it lies', 'start']);
    await part.stop();
  });
});
