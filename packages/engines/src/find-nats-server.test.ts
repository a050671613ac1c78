import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { findNatsServer } from './find-nats-server.ts';

describe('finding nats-server', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'countersign-find-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function program(name: string, version: string): Promise<string> {
    const path = join(folder, name);
    await writeFile(path, `#!/bin/sh\necho nats-server: v${version}\n`, { mode: 0o755 });
    return path;
  }

  it('takes the one COUNTERSIGN_NATS_SERVER names before any other', async () => {
    await program('nats-server', '2.12.0');
    const chosen = await program('chosen', '2.10.27');
    const env = { COUNTERSIGN_NATS_SERVER: chosen, PATH: folder };
    expect(await findNatsServer({ env })).toEqual({ binary: chosen, version: '2.10.27' });
  });

  it('does not look further when COUNTERSIGN_NATS_SERVER is too old', async () => {
    await program('nats-server', '2.12.0');
    const env = { COUNTERSIGN_NATS_SERVER: await program('old', '2.9.10'), PATH: folder };
    await expect(findNatsServer({ env })).rejects.toThrow(
      `COUNTERSIGN_NATS_SERVER (${folder}/old) is nats-server 2.9.10`,
    );
  });

  it("passes over one on PATH that is too old and takes the set-up's", async () => {
    await program('nats-server', '2.9.10');
    const toolBinary = await program('tool', '2.10.27');
    const found = await findNatsServer({ toolBinary, env: { PATH: folder } });
    expect(found).toEqual({ binary: toolBinary, version: '2.10.27' });
  });

  it('names the one that is too old when there is no other', async () => {
    await program('nats-server', '2.9.10');
    await expect(findNatsServer({ env: { PATH: folder } })).rejects.toThrow(
      `${folder}/nats-server is nats-server 2.9.10: 2.10.23 or newer is needed`,
    );
  });

  it('says what to do when there is none', async () => {
    const toolBinary = join(folder, 'nothing-here');
    await expect(findNatsServer({ toolBinary, env: { PATH: folder } })).rejects.toThrow(
      /nats-server is missing: run "npm run setup".*COUNTERSIGN_NATS_SERVER/,
    );
  });
});
