import { expect, it } from 'vitest';

import { LogServerCare } from './care-for-log-server.ts';

it('a server goes on without its store while its disk is full, and with it after 2 s of room', () => {
  const care = new LogServerCare();
  expect(care.noteDisk('ok', 0)).toBeNull();
  expect(care.noteDisk('low', 1_000)).toBeNull();
  expect(care.hasRoom).toBe(true);
  expect(care.noteDisk('full', 2_000)).toMatch(/without its store/);
  expect(care.noteDisk('full', 3_000)).toBeNull();
  expect(care.hasRoom).toBe(false);
  expect(care.noteDisk('low', 4_000)).toBeNull();
  expect(care.noteDisk('full', 5_000)).toBeNull();
  expect(care.noteDisk('ok', 6_000)).toBeNull();
  expect(care.noteDisk('ok', 7_999)).toBeNull();
  expect(care.noteDisk('ok', 8_000)).toMatch(/with its store/);
  expect(care.hasRoom).toBe(true);
});

it('a server that stays behind for 30 s is started again once a minute, one that catches up is not', () => {
  const care = new LogServerCare();
  expect(care.noteHealth('behind', 0)).toBeNull();
  expect(care.noteHealth('catching-up', 20_000)).toBeNull();
  expect(care.noteHealth('behind', 22_000)).toBeNull();
  expect(care.noteHealth('behind', 51_999)).toBeNull();
  expect(care.noteHealth('behind', 52_000)).toMatch(/without it/);
  expect(care.noteHealth('behind', 53_000)).toBeNull();
  expect(care.noteHealth('behind', 111_999)).toBeNull();
  expect(care.noteHealth('behind', 112_000)).toMatch(/without it/);
});

it('a server is not started again for the silence of all', () => {
  const care = new LogServerCare();
  for (let now = 0; now < 600_000; now += 1_000) {
    expect(care.noteHealth('silent', now)).toBeNull();
  }
});
