import { createHash, randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { contentHashOf, isSameContent } from './send-command.ts';

it('a command is known again by its content, which nobody finds from the hash without the key', () => {
  const makeKey = () => ({ keyId: '00000000', key: randomBytes(32) });
  const key = makeKey();
  const setPin = (pin: string) =>
    ({ name: 'user.set-pin', args: { username: 'alice', pin } }) as const;
  const hash = contentHashOf(key, setPin('7391'));
  expect(contentHashOf(key, setPin('7391'))).toBe(hash);
  expect(contentHashOf(key, setPin('5280'))).not.toBe(hash);
  expect(contentHashOf(makeKey(), setPin('7391'))).not.toBe(hash);
  const { name, args } = setPin('7391');
  const plain = createHash('sha256').update(JSON.stringify([name, args]));
  expect(hash).not.toBe(plain.digest('hex'));
});

it('a repeat is known while the key is changed, on nodes that have more or fewer of its generations', () => {
  const makeKey = (keyId: string) => ({ keyId, key: randomBytes(32) });
  const [old, next] = [makeKey('00000000'), makeKey('00000001')];
  const command = { name: 'user.set-pin', args: { username: 'alice', pin: '7391' } } as const;
  const other = { name: 'user.set-pin', args: { username: 'alice', pin: '5280' } } as const;
  const rings = [old, { ...old, others: [next] }, { ...next, others: [old] }];
  for (const first of rings) {
    for (const repeated of rings) {
      const hash = contentHashOf(first, command);
      expect(isSameContent(hash, contentHashOf(repeated, command))).toBe(true);
      expect(isSameContent(hash, contentHashOf(repeated, other))).toBe(false);
    }
  }
});
