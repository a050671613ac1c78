import { expect, it } from 'vitest';

import { waitFor } from './wait-for.ts';

it('gives the first truthy answer and forgives errors before it', async () => {
  let asked = 0;
  const answer = await waitFor(
    'the third answer',
    () => {
      asked += 1;
      if (asked === 1) throw new Error('not yet');
      return asked === 3 && 'here';
    },
    { timeoutMs: 10_000, everyMs: 1 },
  );
  expect(answer).toBe('here');
});

it('names what it waited for and the last error or value', async () => {
  const failing = () => Promise.reject(new Error('connection refused'));
  const options = { timeoutMs: 20, everyMs: 5 };
  await expect(waitFor('the server', failing, options)).rejects.toThrow(
    'waited 20 ms in vain for the server: Error: connection refused',
  );
  await expect(waitFor('a row', () => undefined, options)).rejects.toThrow('last value undefined');
});

it('gives up on a condition that hangs', async () => {
  const hangs = () => new Promise<boolean>(() => {});
  await expect(waitFor('a reply', hangs, { timeoutMs: 20 })).rejects.toThrow('gave no answer');
});
