import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClusterKeyFile } from './cluster-key.ts';
import { deriveKeys, retireGeneration } from './derive-keys.ts';
import { handKeys, renewKeys, takeKeys } from './handed-keys.ts';
import { KeyError } from './key-error.ts';
import { readKeyRing, writeKeyRing } from './key-ring-file.ts';
import { activateGeneration, addGeneration, makeGeneration, ringOf } from './key-ring.ts';
import { parseKek, readKekFile, wrappingUnder } from './key-wrapping.ts';
import { open, seal, sealedUnder } from './seal.ts';

const madeAt = '2026-01-01T00:00:00.000Z';
const secret = Buffer.from('12345678901234567890');
let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'countersign-ring-'));
  path = join(directory, 'cluster.key');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('a key ring', () => {
  it('seals under its active generation and opens what any of them sealed', () => {
    const first = makeGeneration(madeAt);
    const one = { active: first.id, generations: [first] };
    const second = makeGeneration(madeAt);
    const two = addGeneration(one, second);
    const old = seal(deriveKeys(one, ['seed']).seed, secret, 'c');
    const early = seal(deriveKeys(two, ['seed']).seed, secret, 'c');
    const late = seal(deriveKeys(activateGeneration(two, second.id), ['seed']).seed, secret, 'c');
    expect([old, early, late].map(sealedUnder)).toEqual([first.id, first.id, second.id]);
    // A node that has not made it the active one yet opens what others seal under it.
    for (const ring of [two, activateGeneration(two, second.id)]) {
      for (const sealed of [old, early, late]) {
        expect(open(deriveKeys(ring, ['seed']).seed, sealed, 'c')).toEqual(secret);
      }
    }
    expect(codeOf(() => open(deriveKeys(one, ['seed']).seed, late, 'c'))).toBe('wrong_key');
  });

  it('opens nothing that says who somebody is under a generation older than the active one', () => {
    const first = makeGeneration(madeAt);
    const second = makeGeneration(madeAt);
    const early = addGeneration({ active: first.id, generations: [first] }, second);
    const late = activateGeneration(early, second.id);
    for (const purpose of ['session', 'session-proof', 'socket-proof'] as const) {
      const keyOf = (ring: typeof early) => deriveKeys(ring, [purpose])[purpose];
      const [old, young] = [early, late].map((ring) => seal(keyOf(ring), secret, 'c'));
      expect(codeOf(() => open(keyOf(late), old!, 'c'))).toBe('wrong_key');
      expect(open(keyOf(late), young!, 'c')).toEqual(secret);
      expect(open(keyOf(early), young!, 'c')).toEqual(secret);
    }
  });

  it('never changes the keys that others look up by value, or the password of the log servers', () => {
    const first = makeGeneration(madeAt);
    const second = makeGeneration(madeAt);
    const one = { active: first.id, generations: [first] };
    const two = activateGeneration(addGeneration(one, second), second.id);
    const lasting = ['nats-password', 'command-id', 'spare-code'] as const;
    const before = deriveKeys(one, lasting);
    expect(deriveKeys(two, lasting)).toEqual(before);
    expect(deriveKeys(retireGeneration(two, first.id), lasting)).toEqual(before);
    const pin = deriveKeys(one, ['pin']).pin;
    expect(deriveKeys(retireGeneration(two, first.id), ['pin']).pin.first).toEqual(pin);
    const others = ['seed', 'command', 'challenge', 'attempt-id', 'new-secret'] as const;
    for (const purpose of others) {
      const key = deriveKeys(two, others)[purpose];
      expect(key.keyId).toBe(second.id);
      expect(key.others?.map(({ keyId }) => keyId)).toEqual([first.id]);
    }
  });

  it('keeps of a retired generation only what opens old documents and events, and the lasting keys of the first', () => {
    const made = [makeGeneration(madeAt), makeGeneration(madeAt), makeGeneration(madeAt)];
    const [first, second, third] = made as [(typeof made)[0], (typeof made)[0], (typeof made)[0]];
    const full = { active: third.id, generations: made };
    const ring = retireGeneration(retireGeneration(full, first.id), second.id);
    const kept = ring.generations.map(({ bytes, derived }) => [
      bytes !== null,
      Object.keys(derived).toSorted(),
    ]);
    expect(kept).toEqual([
      [false, ['command-id', 'document', 'event', 'nats-password', 'pin', 'spare-code']],
      [false, ['document', 'event']],
      [true, []],
    ]);
    const old = seal(deriveKeys(full, ['document']).document, secret, 'c');
    expect(open(deriveKeys(ring, ['document']).document, old, 'c')).toEqual(secret);
    expect(deriveKeys(ring, ['seed', 'command']).seed.others).toBeUndefined();
    expect(codeOf(() => activateGeneration(ring, second.id))).toBe('wrong_key');
  });

  it('reaches processes that run: whoever holds a key opens and seals with the new one', () => {
    const first = makeGeneration(madeAt);
    const second = makeGeneration(madeAt);
    const one = { active: first.id, generations: [first] };
    const held = takeKeys(handKeys(deriveKeys(one, ['seed'])));
    const { seed } = held;
    const two = activateGeneration(addGeneration(one, second), second.id);
    const message = JSON.parse(JSON.stringify(handKeys(deriveKeys(two, ['seed']))));
    const old = seal(seed, secret, 'c');
    renewKeys(held, message);
    expect(sealedUnder(seal(seed, secret, 'c'))).toBe(second.id);
    expect(open(seed, old, 'c')).toEqual(secret);
    renewKeys(held, handKeys(deriveKeys(retireGeneration(two, first.id), ['seed'])));
    expect(codeOf(() => open(seed, old, 'c'))).toBe('wrong_key');
  });
});

describe('the file of a key ring', () => {
  it('is what a cluster has that never changed its key, and then holds every generation', async () => {
    const key = createClusterKeyFile(path);
    const { ring, isWrapped } = await readKeyRing(path, null);
    expect(isWrapped).toBe(false);
    expect(ring).toEqual(ringOf(key, ring.generations[0]!.madeAt));
    const second = makeGeneration(madeAt);
    const two = activateGeneration(addGeneration(ring, second), second.id);
    await writeKeyRing(path, retireGeneration(two, key.id), null);
    expect((await readKeyRing(path, null)).ring).toEqual(retireGeneration(two, key.id));
    expect(readFileSync(path, 'utf8')).not.toContain(key.bytes.toString('base64url'));
    expect(readdirSync(directory)).toEqual(['cluster.key']);
  });

  it('lies wrapped under a key-encryption key, and shows nothing of what is in it', async () => {
    const wrapping = wrappingUnder(randomBytes(32));
    const ring = ringOf(createClusterKeyFile(path), madeAt);
    await writeKeyRing(path, ring, wrapping);
    const text = readFileSync(path, 'utf8');
    expect(text).not.toContain(ring.generations[0]!.bytes!.toString('base64url'));
    expect(await readKeyRing(path, wrapping)).toEqual({ ring, isWrapped: true });
  });

  it('is refused in one line without its key-encryption key or under another, and stays as it is', async () => {
    const wrapping = wrappingUnder(randomBytes(32));
    await writeKeyRing(path, ringOf(createClusterKeyFile(path), madeAt), wrapping);
    const before = readFileSync(path);
    for (const other of [null, wrappingUnder(randomBytes(32))]) {
      const error = await failure(readKeyRing(path, other));
      expect(error.code).toBe('wrong_kek');
      expect(error.message).toMatch(
        /^[^\n]*wrapped under the key-encryption key [0-9a-f]{8}[^\n]*$/,
      );
    }
    expect(readFileSync(path)).toEqual(before);
  });

  it('is refused where a bit of the wrapped ring was changed', async () => {
    const wrapping = wrappingUnder(randomBytes(32));
    await writeKeyRing(path, ringOf(createClusterKeyFile(path), madeAt), wrapping);
    const outer = JSON.parse(readFileSync(path, 'utf8')) as { wrapped: string };
    const bytes = Buffer.from(outer.wrapped, 'base64url');
    bytes[40] = bytes[40]! ^ 1;
    writeFileSync(path, JSON.stringify({ ...outer, wrapped: bytes.toString('base64url') }));
    expect((await failure(readKeyRing(path, wrapping))).code).toBe('damaged');
  });

  it('is refused where a generation is not the one that its id says, or none is active', async () => {
    const ring = ringOf(createClusterKeyFile(path), madeAt);
    await writeKeyRing(path, ring, null);
    const good = JSON.parse(readFileSync(path, 'utf8')) as {
      active: string;
      generations: { key: string }[];
    };
    const [generation] = good.generations;
    const bad = [
      { ...good, active: '00000000' },
      { ...good, generations: [] },
      { ...good, generations: [{ ...generation, id: '00000000' }] },
      { ...good, generations: [{ ...generation, key: randomBytes(32).toString('base64url') }] },
      { ...good, generations: [{ ...generation, madeAt: 'once' }] },
      { ...good, generations: [{ ...generation, key: undefined, derived: {} }] },
    ];
    for (const text of [...bad.map((each) => JSON.stringify(each)), '{', 'null', '']) {
      writeFileSync(path, text);
      expect((await failure(readKeyRing(path, null))).code).toBe('malformed');
    }
  });

  it('is left as it was where it cannot be written', async () => {
    const ring = ringOf(createClusterKeyFile(path), madeAt);
    const missing = join(directory, 'no', 'cluster.key');
    expect((await failure(writeKeyRing(missing, ring, null))).code).toBe('unreadable');
    expect((await readKeyRing(path, null)).ring.active).toBe(ring.active);
  });
});

describe('a key-encryption key', () => {
  it('is 32 bytes in hexadecimal or base64url, with a line break behind it or none', () => {
    const kek = randomBytes(32);
    for (const text of [
      kek.toString('hex'),
      kek.toString('base64url'),
      `${kek.toString('hex')}\n`,
    ]) {
      expect(parseKek(text, 'there')).toEqual(kek);
    }
    for (const text of ['', 'abc', kek.toString('hex').slice(2), `${kek.toString('base64url')}A`]) {
      expect(codeOf(() => parseKek(text, 'COUNTERSIGN_KEK'))).toBe('malformed');
    }
  });

  it('is refused in a file that others may read', () => {
    writeFileSync(path, randomBytes(32).toString('hex'), { mode: 0o600 });
    expect(readKekFile(path).length).toBe(32);
    chmodSync(path, 0o640);
    expect(codeOf(() => readKekFile(path))).toBe('unsafe_mode');
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

async function failure(act: Promise<unknown>): Promise<KeyError> {
  const error = await act.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof KeyError) return error;
  throw new Error('it did not fail with a KeyError');
}
