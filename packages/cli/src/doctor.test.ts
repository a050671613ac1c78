import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { healthyCluster, startApi } from '@countersign/api/testing';
import { isSafeText } from '@countersign/verification';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

let server: Awaited<ReturnType<typeof startApi>>;
let directory: string;
beforeAll(async () => {
  server = await startApi();
  directory = mkdtempSync(join(tmpdir(), 'countersign-doctor-'));
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  server.ports.cluster = healthyCluster();
  server.ports.examinations = [];
});

function doctor(...args: string[]): Promise<{ code: number | null; stdout: string }> {
  const child = spawn(process.execPath, [MAIN, 'doctor', ...args], {
    cwd: directory,
    env: {
      NODE_COMPILE_CACHE: join(directory, 'compiled'),
      COUNTERSIGN_SERVER: server.url,
      COUNTERSIGN_API_KEY: 'all',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 30_000,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  child.stdout.on('data', (data) => (stdout += String(data)));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout }));
  });
}

describe('doctor', () => {
  it('says of every node what it has looked at, and exits 0 when nothing is wrong', async () => {
    const { code, stdout } = await doctor();
    expect(code).toBe(0);
    const node = (name: string) => `${name}\n  ok     tables  as they should be\n\n`;
    expect(stdout).toBe(`${node('node-1')}${node('node-2')}${node('node-3')}nothing is wrong\n`);
  });

  it('asks again until the look is finished', async () => {
    const unfinished = { node: 'node-2', finished: false, documents: 9, checks: [] };
    server.ports.examinations = [unfinished, unfinished];
    const { code, stdout } = await doctor('node-2');
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('ok') });
    expect(server.ports.examinations).toEqual([]);
  });

  it('exits 1 on a finding, and lets nothing in it reach the terminal', async () => {
    const detail = 'user x is not what was received \u001b[2J';
    const checks = [
      { name: 'tables', ok: false, detail },
      { name: 'clock', ok: true, detail: '3 ms' },
    ];
    const found = { node: 'node-2', finished: true, documents: 9, checks };
    server.ports.examinations = [found];
    const { code, stdout } = await doctor('node-2');
    expect(code).toBe(1);
    expect(stdout).toMatch(/^node-2\n {2}WRONG {2}tables {2}user x is not what was received/);
    expect(stdout).toContain('something is wrong');
    expect(isSafeText(stdout.replaceAll('\n', ''))).toBe(true);

    server.ports.examinations = [found];
    const asJson = await doctor('node-2', '--json');
    expect(asJson.code).toBe(1);
    expect(JSON.parse(asJson.stdout)).toEqual({ ok: false, nodes: [found] });
  });

  it('takes a node that does not answer for a finding', async () => {
    const [, , last] = server.ports.cluster.nodes;
    last!.online = false;
    const { code, stdout } = await doctor();
    expect(code).toBe(1);
    expect(stdout).toMatch(/node-3\n {2}WRONG {2}node {4}node-3 is not there\. \(node_offline\)/);
    expect((await doctor('no node')).code).toBe(1);
  });
});
