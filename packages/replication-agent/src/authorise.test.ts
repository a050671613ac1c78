import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { authoriseCommand, proveSocket } from './authorise.ts';
import { useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();

describe('the proof of the local socket', () => {
  it('is worth nothing in another command, with other arguments, or later', async () => {
    const db = await test.openDatabase();
    const keys = test.makeKeys();
    const key = keys['socket-proof'];
    const wish = { name: 'user.block', args: { username: 'alice' }, commandId: randomUUID() };
    const isAllowed = async (command: typeof wish, madeAt?: number) => {
      const proof = proveSocket(key, 'node-1', wish, madeAt);
      const judged = await authoriseCommand({ db, keys }, { ...command, proof });
      return judged.kind === 'allowed';
    };
    expect(await isAllowed(wish)).toBe(true);
    expect(await isAllowed({ ...wish, name: 'user.remove' })).toBe(false);
    expect(await isAllowed({ ...wish, args: { username: 'bob' } })).toBe(false);
    expect(await isAllowed({ ...wish, commandId: randomUUID() })).toBe(false);
    expect(await isAllowed(wish, Date.now() - 130_000)).toBe(false);
    expect(await isAllowed(wish, Date.now() + 130_000)).toBe(false);
  });
});
