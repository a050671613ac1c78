import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkConfiguration } from './check-configuration.ts';

describe('the configuration of a node that runs', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'countersign-doctor-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('is told where somebody has changed it since', async () => {
    const path = join(folder, 'node.yaml');
    const text = '{"name": "node-1"}';
    writeFileSync(path, text);
    const file = { path, sha256: createHash('sha256').update(text).digest('hex') };
    expect(await checkConfiguration({ file })).toMatchObject([{ ok: true }]);
    writeFileSync(path, '{"name": "node-2"}');
    expect(await checkConfiguration({ file })).toEqual([
      {
        name: 'config',
        ok: false,
        severity: 'warning',
        detail: `${path} has changed since this node started`,
        fix: `countersign doctor --config ${path} checks it; systemctl restart countersign brings it into force`,
      },
    ]);
  });
});
