import { describe, expect, it } from 'vitest';
import { Turns, type Touched } from './turns.ts';

/** Starts work that notes when it begins and ends when told. */
function start(turns: Turns, began: string[], name: string, touched: Touched, timeoutMs = 5000) {
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

  it('come to everybody and never to two on the same thing, whoever gives up in between', async () => {
    const turns = new Turns();
    const holders = new Set<Touched>();
    const works = Array.from({ length: 600 }, async (_, i) => {
      // Singles, slices of several names and now and then everything, in an order that repeats only late.
      const names = Array.from({ length: 1 + (i % 4) }, (_name, j) => `${(i * 7 + j * 5) % 11}`);
      const touched = i % 23 === 0 ? 'everything' : names;
      const turn = await turns.take(touched, i % 5 === 0 ? i % 3 : 20_000);
      if (!turn) return 'gave up';
      const clash = [...holders].some((other) => overlap(other, touched));
      holders.add(touched);
      for (let ticks = i % 3; ticks >= 0; ticks -= 1) await settled();
      holders.delete(touched);
      turn.release();
      return clash ? 'clash' : 'done';
    });
    const ends = await Promise.all(works);
    const patient = ends.filter((_, i) => i % 5 !== 0);
    expect(new Set(patient)).toEqual(new Set(['done']));
    expect(ends).toContain('gave up');
    expect(ends).not.toContain('clash');
  });
});

function overlap(one: Touched, other: Touched): boolean {
  if (one === 'everything' || other === 'everything') return true;
  return one.some((name) => other.includes(name));
}
