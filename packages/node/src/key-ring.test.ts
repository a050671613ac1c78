import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createClusterKeyFile } from '@countersign/keys';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { parseNodeConfig } from './config.ts';
import { KeptKeyRing, unwrapKeyRing } from './key-ring.ts';

let dataDirectory: string;
beforeEach(() => {
  dataDirectory = mkdtempSync(join(tmpdir(), 'cs-key-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dataDirectory, { recursive: true });
});

describe('the cluster key', () => {
  it('is made once by a node that is alone', async () => {
    const { ring } = await KeptKeyRing.prepare(configure({}));
    const draft = join(dataDirectory, 'cluster.key.0123456789ab.tmp');
    writeFileSync(draft, 'with a key that is retired by now');
    expect((await KeptKeyRing.prepare(configure({}))).ring).toEqual(ring);
    expect(existsSync(draft)).toBe(false);
  });

  it('is made by the founder of a cluster, and by no other member', async () => {
    const logServers = ['node-1', 'node-2', 'node-3'].map((name, index) => ({
      name,
      host: '127.0.0.1',
      clientPort: 4222 + index,
      routePort: 6222 + index,
    }));
    const member = KeptKeyRing.prepare(configure({ logServers }));
    await expect(member).rejects.toThrow('copy it from another node');
    const { ring } = await KeptKeyRing.prepare(configure({ logServers, found: true }));
    expect(ring.generations).toHaveLength(1);
  });

  it('is not made by a node that only uses the log server of another', async () => {
    const other = { name: 'node-2', host: '127.0.0.1', clientPort: 4222, routePort: 6222 };
    const config = configure({ logServers: [other] });
    await expect(KeptKeyRing.prepare(config)).rejects.toThrow('is missing');
  });

  it.each([false, true])(
    'is not replaced where data needs the lost one (found: %s)',
    async (found) => {
      mkdirSync(join(dataDirectory, 'postgres'));
      await expect(KeptKeyRing.prepare(configure({ found }))).rejects.toThrow('put it back');
    },
  );
});

describe('a key-encryption key', () => {
  const keyFile = () => join(dataDirectory, 'cluster.key');

  it('wraps the plain file of a node that starts with one, and unwraps it on command', async () => {
    const key = createClusterKeyFile(keyFile());
    const plain = key.bytes.toString('base64url');
    const config = configure({ keys: { kekFile: writeKek('kek') } });
    const { ring } = await KeptKeyRing.prepare(config);
    expect(ring.active).toBe(key.id);
    expect(readFileSync(keyFile(), 'utf8')).not.toContain(plain);
    expect((await KeptKeyRing.prepare(config)).ring).toEqual(ring);
    expect(await unwrapKeyRing(config)).toEqual({ wasWrapped: true });
    expect(await unwrapKeyRing(config)).toEqual({ wasWrapped: false });
    expect((await KeptKeyRing.prepare(configure({}))).ring).toEqual(ring);
  });

  it('is taken out of the environment, so that no process of the node inherits it', async () => {
    vi.stubEnv('COUNTERSIGN_KEK', randomBytes(32).toString('hex'));
    await KeptKeyRing.prepare(configure({}));
    expect(readFileSync(keyFile(), 'utf8')).toContain('"wrapped"');
    expect(process.env.COUNTERSIGN_KEK).toBeUndefined();
  });

  it('that is missing, another or unreadable stops the node in one line and changes nothing', async () => {
    await KeptKeyRing.prepare(configure({ keys: { kekFile: writeKek('kek') } }));
    const before = readFileSync(keyFile());
    const configs = [
      [configure({}), 'set keys.kekFile or COUNTERSIGN_KEK'],
      [configure({ keys: { kekFile: writeKek('other') } }), 'and the one configured is'],
      [configure({ keys: { kekFile: join(dataDirectory, 'none') } }), 'does not exist'],
    ] as const;
    for (const [config, message] of configs) {
      await expect(KeptKeyRing.prepare(config)).rejects.toThrow(message);
      await expect(unwrapKeyRing(config)).rejects.toThrow(message);
    }
    expect(readFileSync(keyFile())).toEqual(before);
  });

  it('is given once: in the environment or in a file', async () => {
    vi.stubEnv('COUNTERSIGN_KEK', randomBytes(32).toString('hex'));
    const config = configure({ keys: { kekFile: writeKek('kek') } });
    await expect(KeptKeyRing.prepare(config)).rejects.toThrow('not both');
  });

  function writeKek(name: string): string {
    const path = join(dataDirectory, name);
    writeFileSync(path, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
    return path;
  }
});

function configure(more: object) {
  const text = JSON.stringify({ name: 'node-1', dataDirectory, ...more });
  return parseNodeConfig(text, 'node.yaml');
}
