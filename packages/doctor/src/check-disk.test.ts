import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkDisk } from './check-disk.ts';

const MEBIBYTE = 2 ** 20;
const isRoot = process.getuid?.() === 0;

let folder: string;
let node: Parameters<typeof checkDisk>[0];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-doctor-'));
  const limits = { changesBytes: MEBIBYTE, statesBytes: MEBIBYTE, eventsBytes: MEBIBYTE };
  const server = { name: 'node-1', host: '127.0.0.1', clientPort: 4222, routePort: 6222 };
  node = { name: 'node-1', dataDirectory: folder, limits, logServers: [server] };
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('the disks of a node', () => {
  it('are told where the limits of the log promise more than there is', async () => {
    const limits = { ...node.limits, changesBytes: 2 ** 60 };
    const found = await checkDisk({ ...node, limits });
    expect(found.at(-1)).toMatchObject({
      name: 'disk',
      ok: false,
      severity: 'warning',
      detail: expect.stringMatching(/^by its limits the log may still grow by \d+\.\d GiB, and /),
      fix: expect.stringContaining('lower "limits" in the configuration of every node'),
    });
    const client = [{ ...node.logServers[0]!, name: 'node-2' }];
    expect(await checkDisk({ ...node, limits, logServers: client })).toHaveLength(1);
  });

  it.skipIf(!isRoot)('are told where one is full, each disk for itself (needs root)', async () => {
    const log = join(folder, 'nats');
    mkdirSync(log);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=100m', 'countersign-test', log]);
    try {
      const fix = `df -h ${log}; du -xh --max-depth=2 ${log} | sort -h | tail`;
      const free = await checkDisk(node);
      expect(free.map(({ detail }) => detail.split(' under ')[1])).toEqual([folder, log]);
      writeFileSync(join(log, 'filler'), Buffer.alloc(96 * MEBIBYTE));
      const [, full] = await checkDisk(node);
      expect(full).toEqual({
        name: 'disk',
        ok: false,
        severity: 'critical',
        detail: `0.0 GiB free (4 %) under ${log}`,
        fix,
      });
    } finally {
      execFileSync('umount', ['-l', log]);
    }
  });

  it('are looked at where the first start will make the data directory', async () => {
    const dataDirectory = join(folder, 'not', 'yet');
    const found = await checkDisk({ ...node, dataDirectory });
    expect(found).toHaveLength(1);
    expect(found[0]!.detail).toContain(`%) under ${folder}`);
  });
});
