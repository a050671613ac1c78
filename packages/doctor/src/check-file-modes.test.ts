import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkFileModes } from './check-file-modes.ts';

let folder: string;
let node: Parameters<typeof checkFileModes>[0];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign doctor '));
  node = {
    dataDirectory: folder,
    secretFiles: [join(folder, 'cluster.key'), join(folder, 'kek')],
    http: {
      host: '127.0.0.1',
      port: 1,
      tls: { certificateFile: join(folder, 'web.pem'), keyFile: join(folder, 'web.key') },
      isHttps: true,
    },
    file: { path: join(folder, 'node.yaml'), sha256: '' },
  };
  for (const name of ['cluster.key', 'kek', 'nats.conf']) write(name, 0o600);
  write('node.yaml', 0o644);
  mkdirSync(join(folder, 'identity'), { mode: 0o700 });
  write('identity/node.key', 0o600);
  write('web.key', 0o640);
  write('log-layout.json', 0o600);
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(name: string, mode: number): void {
  writeFileSync(join(folder, name), 'secret', { mode });
  chmodSync(join(folder, name), mode);
}

describe('the files of a node', () => {
  it('are well where only their owner may read the secrets', async () => {
    expect(await checkFileModes(node)).toEqual([
      { name: 'files', ok: true, detail: 'secrets are readable by their owner only' },
    ]);
    // As root PostgreSQL has to pass through.
    chmodSync(folder, 0o711);
    expect(await checkFileModes(node)).toMatchObject([{ ok: true }]);
  });

  it.each([
    ['cluster.key', 0o640, 'read', '600'],
    ['kek', 0o604, 'read', '600'],
    ['nats.conf', 0o644, 'read', '600'],
    ['identity', 0o755, 'read', '700'],
    ['identity/node.key', 0o660, 'change', '600'],
    ['web.key', 0o644, 'read', 'g-w,o='],
    ['node.yaml', 0o666, 'change', 'go-w'],
  ])(
    'are told with what to type where others have a right: %s',
    async (name, mode, may, wanted) => {
      const path = join(folder, name);
      chmodSync(path, mode);
      expect(await checkFileModes(node)).toEqual([
        {
          name: 'files',
          ok: false,
          severity: 'critical',
          detail: `${path} has mode 0${mode.toString(8)}: others may ${may} it`,
          fix: `chmod ${wanted} '${path}'`,
        },
      ]);
      chmodSync(path, 0o700);
    },
  );

  it('are not missed before the first start makes them, but for those that it needs', async () => {
    rmSync(join(folder, 'log-layout.json'));
    rmSync(node.secretFiles[0]!);
    expect(await checkFileModes(node)).toMatchObject([{ ok: true }]);
    const elsewhere = { ...node, secretFiles: ['/nowhere/kek'] };
    expect(await checkFileModes(elsewhere)).toMatchObject([{ detail: '/nowhere/kek is missing' }]);
    const dataDirectory = join(folder, 'new');
    expect(await checkFileModes({ ...node, dataDirectory })).toMatchObject([
      { ok: true, detail: `${dataDirectory} is not there yet: the first start makes it` },
    ]);
  });

  it('are told where the data lie open, and where a key is gone', async () => {
    chmodSync(folder, 0o755);
    rmSync(node.secretFiles[0]!);
    expect(await checkFileModes(node)).toMatchObject([
      { detail: `${folder} has mode 0755: others may read it`, fix: `chmod go-rw '${folder}'` },
      { severity: 'critical', detail: `${node.secretFiles[0]} is missing` },
    ]);
  });
});
