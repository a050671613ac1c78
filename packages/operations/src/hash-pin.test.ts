import {
  activateGeneration,
  addGeneration,
  deriveKeys,
  makeGeneration,
  retireGeneration,
  sealedUnder,
} from '@countersign/keys';
import { expect, it } from 'vitest';
import { hashPassword, isPassword } from './hash-password.ts';
import { hashPin, isPin, resealPin } from './hash-pin.ts';

it('a PIN and a password outlive the keys they were set under: the hash of a PIN goes from one to the next without the PIN', async () => {
  const [first, second, third] = ['2026-01-01', '2026-02-01', '2026-03-01'].map(makeGeneration);
  let ring = { active: first!.id, generations: [first!] } as Parameters<typeof addGeneration>[0];
  const pinKey = () => deriveKeys(ring, ['pin']).pin;
  let stored = await hashPin(pinKey(), 'user', '8024');
  const password = await hashPassword(pinKey(), 'admin', 'correct horse battery');
  for (const next of [second!, third!]) {
    const before = ring.active;
    ring = activateGeneration(addGeneration(ring, next), next.id);
    expect(await isPin(pinKey(), 'user', '8024', stored)).toBe(true);
    stored = resealPin(pinKey(), 'user', stored);
    expect(sealedUnder(Buffer.from(stored.hash, 'base64'))).toBe(next.id);
    ring = retireGeneration(ring, before);
    expect(await isPin(pinKey(), 'user', '8024', stored)).toBe(true);
    expect(await isPin(pinKey(), 'user', '8025', stored)).toBe(false);
    expect(await isPassword(pinKey(), 'admin', 'correct horse battery', password)).toBe(true);
    // Sealed to its user: moved to another it does not open.
    await expect(isPin(pinKey(), 'other', '8024', stored)).rejects.toThrow('another context');
  }
  const fresh = await hashPin(pinKey(), 'user', '5280');
  expect(await isPin(pinKey(), 'user', '5280', fresh)).toBe(true);
  // With the old cluster keys alone it does not even open.
  const old = deriveKeys({ active: first!.id, generations: [first!, second!] }, ['pin']).pin;
  await expect(isPin(old, 'user', '8024', stored)).rejects.toThrow('not known here');
});
