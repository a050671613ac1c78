import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { deriveKeys } from './derive-keys.ts';
import { handKeys, takeKeys } from './handed-keys.ts';
import { open, seal } from './seal.ts';

it('hands over the purposes it was given and nothing else', () => {
  const keys = deriveKeys({ id: '00112233', bytes: randomBytes(32) }, ['seed', 'command']);
  const message = JSON.parse(JSON.stringify(handKeys(keys)));
  const taken = takeKeys<'seed' | 'command'>(message);
  expect(Object.keys(taken)).toEqual(['seed', 'command']);
  const sealed = seal(keys.seed, Buffer.from('a seed'), 'seed|1');
  expect(open(taken.seed, sealed, 'seed|1').toString()).toBe('a seed');
  expect(() => open(taken.command, sealed, 'seed|1')).toThrow();
});
