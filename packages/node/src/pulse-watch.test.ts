import { expect, it } from 'vitest';

import { PulseWatch } from './pulse-watch.ts';

/** Looks every second of its own clock, as the timer would. */
function startWatch() {
  let nowMs = 0;
  const hung: number[] = [];
  const watch = new PulseWatch(
    (silentMs) => hung.push(silentMs),
    () => nowMs,
  );
  const passSeconds = (seconds: number) => {
    for (let i = 0; i < seconds; i += 1) {
      nowMs += 1_000;
      watch.look();
    }
  };
  const skip = (ms: number) => {
    nowMs += ms;
    watch.look();
  };
  return { watch, hung, passSeconds, skip };
}

it('a process that is silent for 30 s hangs, one that speaks in between does not', () => {
  const { watch, hung, passSeconds } = startWatch();
  passSeconds(29);
  watch.beat();
  passSeconds(29);
  expect(hung).toEqual([]);
  passSeconds(1);
  expect(hung).toEqual([30_000]);
  watch.close();
});

it('time in which the machine or the supervisor itself stood still is not silence', () => {
  const { watch, hung, passSeconds, skip } = startWatch();
  passSeconds(10);
  skip(600_000);
  passSeconds(19);
  expect(hung).toEqual([]);
  passSeconds(1);
  expect(hung).toEqual([30_000]);
  watch.close();
});
