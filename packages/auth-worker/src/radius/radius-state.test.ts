import { randomBytes, randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { CHALLENGE_MAX_BYTES } from '../sealed-challenge.ts';
import { decodeState, encodeState } from './radius-state.ts';

it('State is text that fits, so that clients which keep it as a string send all of it back', () => {
  for (let length = 0; length <= CHALLENGE_MAX_BYTES; length += 1) {
    const sealed = randomBytes(length).fill(0, 0, length >> 1);
    const question = { id: randomUUID(), sealed: sealed.toString('base64url') };
    const state = encodeState(question);
    expect(state.toString('latin1')).toMatch(/^[\w-]{22,253}$/);
    expect(decodeState(state)).toEqual(question);
  }
});

it('a State that is cut, filled up or altered is no question', () => {
  const sealed = randomBytes(139).toString('base64url');
  const state = encodeState({ id: randomUUID(), sealed });
  const changed = [
    state.subarray(0, -1),
    Buffer.concat([state, Buffer.from('=')]),
    Buffer.concat([state, Buffer.from(' \0')]),
    Buffer.concat([Buffer.from('\n'), state]),
    Buffer.from(state.toString('latin1').replace(/^./, '\xff'), 'latin1'),
    Buffer.alloc(0),
    randomBytes(253),
  ];
  for (const one of changed) expect(decodeState(one).sealed).not.toBe(sealed);
});
