import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { ClusterKey } from './cluster-key.ts';
import { deriveKeys } from './derive-keys.ts';
import { KeyError } from './key-error.ts';
import { keyedHash, passwordFor } from './keyed-hash.ts';
import { open, seal } from './seal.ts';

const clusterKey: ClusterKey = { id: '0a1b2c3d', bytes: Buffer.alloc(32, 7) };
const otherClusterKey: ClusterKey = { id: '99887766', bytes: Buffer.alloc(32, 8) };
const { seed, document } = deriveKeys(clusterKey, ['seed', 'document']);
const { seed: newSeed } = deriveKeys(otherClusterKey, ['seed']);
const secret = Buffer.from('12345678901234567890');

describe('derived keys', () => {
  it('differ by purpose and by cluster key, and are the same on every node', () => {
    expect(seed.key.equals(document.key)).toBe(false);
    expect(seed.key.equals(newSeed.key)).toBe(false);
    expect(deriveKeys(clusterKey, ['seed'])).toEqual({ seed });
  });

  it('contain only the purposes asked for', () => {
    expect(Object.keys(deriveKeys(clusterKey, ['event']))).toEqual(['event']);
  });
});

describe('sealing', () => {
  it('opens to what was sealed, also when that is nothing', () => {
    expect(open(seed, seal(seed, secret, 'seed/1'), 'seed/1')).toEqual(secret);
    expect(open(seed, seal(seed, Buffer.alloc(0), ''), '')).toEqual(Buffer.alloc(0));
  });

  it('opens a view into a larger array', () => {
    const sealed = seal(seed, secret, 'c');
    const larger = new Uint8Array([1, 2, 3, ...sealed, 4]);
    expect(open(seed, larger.subarray(3, -1), 'c')).toEqual(secret);
  });

  it('never makes the same bytes twice and shows nothing of the plaintext', () => {
    const first = seal(seed, secret, 'c');
    expect(first.equals(seal(seed, secret, 'c'))).toBe(false);
    expect(first.includes(secret)).toBe(false);
    expect(first.length).toBe(secret.length + 33);
  });

  it('refuses another context and another purpose', () => {
    const sealed = seal(seed, secret, 'seed/1');
    expect(codeOf(() => open(seed, sealed, 'seed/2'))).toBe('damaged');
    expect(codeOf(() => open(document, sealed, 'seed/1'))).toBe('damaged');
  });

  it('refuses every single flipped bit', () => {
    const sealed = seal(seed, secret, 'c');
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const flipped = Buffer.from(sealed);
      const at = bit >> 3;
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (bit & 7));
      // Bytes 1-4 are the key id: there the key is not found.
      expect(codeOf(() => open(seed, flipped, 'c'))).toBe(
        at >= 1 && at <= 4 ? 'wrong_key' : 'damaged',
      );
    }
  });

  it('binds the key id: a forged id naming another known key does not open', () => {
    const sealed = seal(seed, secret, 'c');
    sealed.write(newSeed.keyId, 1, 'hex');
    expect(codeOf(() => open([seed, { ...seed, keyId: newSeed.keyId }], sealed, 'c'))).toBe(
      'damaged',
    );
  });

  it('refuses every truncation, and bytes added at the end', () => {
    const sealed = seal(seed, secret, 'c');
    for (let length = 0; length < sealed.length; length += 1) {
      expect(codeOf(() => open(seed, sealed.subarray(0, length), 'c'))).toBe('damaged');
    }
    expect(codeOf(() => open(seed, Buffer.concat([sealed, Buffer.of(0)]), 'c'))).toBe('damaged');
  });

  it('opens with whichever of several keys sealed it, and names an unknown key', () => {
    const sealed = seal(seed, secret, 'c');
    expect(open([newSeed, seed], sealed, 'c')).toEqual(secret);
    expect(codeOf(() => open([newSeed], sealed, 'c'))).toBe('wrong_key');
    expect(codeOf(() => open([], sealed, 'c'))).toBe('wrong_key');
    expect(() => open(newSeed, sealed, 'c')).toThrow('0a1b2c3d');
  });

  it('refuses random bytes', () => {
    for (let length = 0; length < 200; length += 1) {
      expect(['damaged', 'wrong_key']).toContain(
        codeOf(() => open(seed, randomBytes(length), 'c')),
      );
    }
  });
});

describe('keyed hashes', () => {
  it('tell apart where one part ends and the next begins', () => {
    const texts = [['ab', 'c'], ['a', 'bc'], ['abc'], ['abc', ''], ['', 'abc'], []];
    const hashes = texts.map((parts) => keyedHash(seed, ...parts).toString('hex'));
    expect(new Set(hashes).size).toBe(texts.length);
  });

  it('depend on the key, and take a string as its UTF-8 bytes', () => {
    expect(keyedHash(seed, 'é')).toEqual(keyedHash(seed, Buffer.from('é', 'utf8')));
    expect(keyedHash(seed, 'x').equals(keyedHash(document, 'x'))).toBe(false);
    expect(keyedHash(seed, 'x').length).toBe(32);
  });

  it('give a printable password that is the same for every holder of the key', () => {
    expect(passwordFor(seed)).toMatch(/^[\w-]{43}$/);
    expect(passwordFor(seed)).toBe(passwordFor({ ...seed }));
    expect(passwordFor(seed)).not.toBe(passwordFor(newSeed));
  });
});

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof KeyError) return error.code;
    throw error;
  }
  return 'nothing thrown';
}
