import { describe, expect, it } from 'vitest';
import { Turns, type Touched } from './turns.ts';

/** Starts work that notes when it begins and ends when told. */
function start(turns: Turns, began: string[], name: string, touched: Touched, timeoutMs?: number) {
  const taken = turns.take(touched, timeoutMs).then((turn) => {
    began.push(turn ? name : `${name} gave up`);
    return turn;
  });
  return { end: async () => (await taken)?.release(), taken };
}

/** Everything that can happen without more input has happened. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('turns', () => {
  it('let work on different things go on side by side, and the same thing one after the other', async () => {
    const [turns, began] = [new Turns(), [] as string[]];
    const first = start(turns, began, 'first', ['alice']);
    const second = start(turns, began, 'second', ['bob', 'alice']);
    start(turns, began, 'other', ['carol']);
    const third = start(turns, began, 'third', ['bob']);
    await settled();
    expect(began).toEqual(['first', 'other']);
    await first.end();
    await settled();
    expect(began).toEqual(['first', 'other', 'second']);
    await second.end();
    await third.taken;
    expect(began).toEqual(['first', 'other', 'second', 'third']);
  });

  it('let what touches everything wait for all before it, and all after it wait for it', async () => {
    const [turns, began] = [new Turns(), [] as string[]];
    const first = start(turns, began, 'first', ['alice']);
    const settings = start(turns, began, 'settings', 'everything');
    const later = start(turns, began, 'later', ['bob']);
    await settled();
    expect(began).toEqual(['first']);
    await first.end();
    await settings.end();
    await later.taken;
    expect(began).toEqual(['first', 'settings', 'later']);
  });

  it('keep their order when one gives up waiting', async () => {
    const [turns, began] = [new Turns(), [] as string[]];
    const first = start(turns, began, 'first', ['alice']);
    const second = start(turns, began, 'second', ['alice'], 5);
    const third = start(turns, began, 'third', ['alice']);
    expect(await second.taken).toBeNull();
    await settled();
    expect(began).toEqual(['first', 'second gave up']);
    await first.end();
    await third.taken;
    expect(began).toEqual(['first', 'second gave up', 'third']);
  });
});
