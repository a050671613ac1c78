import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { healthyCluster, startApi } from '@countersign/api/testing';
import { takeFreePorts } from '@countersign/testing';
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
    const cluster = [
      'cluster',
      '  ok     quorum    node-1 is the master; writes: 1 of 3 log servers may fail; verification: 2 of 3 nodes may fail',
      '  ok     members   all 3 nodes are there',
      '  ok     digests   3 nodes hold the same at the revision that they share',
      '  ok     versions  all that are there run 0.1.0',
    ].join('\n');
    const node = (name: string) => `${name}\n  ok     tables    as they should be\n\n`;
    const nodes = ['node-1', 'node-2', 'node-3'].map(node).join('');
    expect(stdout).toBe(`${cluster}\n\n${nodes}nothing is wrong\n`);
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
      {
        name: 'tables',
        ok: false,
        severity: 'critical' as const,
        detail,
        fix: 'type\u001b[2J this',
      },
      { name: 'clock', ok: true, detail: '3 ms' },
    ];
    const found = { node: 'node-2', finished: true, documents: 9, checks };
    server.ports.examinations = [found];
    const { code, stdout } = await doctor('node-2');
    expect(code).toBe(1);
    expect(stdout).toMatch(/^node-2\n {2}WRONG {2}tables {4}user x is not what was received/);
    expect(stdout).toMatch(/^ {19}-> type/m);
    expect(stdout).toContain('something is wrong (1 WRONG): what to type stands behind ->');
    expect(isSafeText(stdout.replaceAll('\n', ''))).toBe(true);

    server.ports.examinations = [found];
    const asJson = await doctor('node-2', '--json');
    expect(asJson.code).toBe(1);
    expect(JSON.parse(asJson.stdout)).toEqual({ ok: false, cluster: [], nodes: [found] });
  });

  it('takes a node that does not answer for a finding', async () => {
    const [, , last] = server.ports.cluster.nodes;
    last!.online = false;
    const { code, stdout } = await doctor();
    expect(code).toBe(1);
    expect(stdout).toMatch(/node-3\n {2}WRONG {2}node {6}node-3 is not there\. \(node_offline\)/);
    expect(stdout).toMatch(/WARN {3}members {3}node-3 is OFFLINE.*\n {19}-> start node-3 again/);
    expect(stdout).toContain('-> on node-3: systemctl status countersign');
    expect((await doctor('no node')).code).toBe(1);
  });

  it('says what is wrong with the cluster as a whole, and what to type', async () => {
    const [one, two, three] = server.ports.cluster.nodes;
    Object.assign(one!, { version: '0.10.0' });
    Object.assign(two!, { version: '0.9.1', digest: 'f'.repeat(64) });
    Object.assign(three!, {
      version: '0.10.0',
      verifies: false,
      problems: ['its clock is 40 s off'],
    });
    server.ports.cluster.logServers[1]!.online = false;
    const { code, stdout } = await doctor();
    expect(code).toBe(1);
    const lines = stdout.slice(0, stdout.indexOf('\n\n')).split('\n');
    expect(lines).toEqual([
      'cluster',
      '  WARN   quorum    the log server node-2 is down',
      '                   -> look at the nats-server log of node-2; it should be running',
      '  WRONG  members   node-3: its clock is 40 s off',
      '                   -> look at the logs of node-3',
      expect.stringMatching(
        /^ {2}WRONG {2}digests {3}node-2 holds other data than the rest at rev/,
      ),
      expect.stringMatching(
        /-> take node-2 out of the load balancer and refill it: docs\/failover/,
      ),
      '  WARN   versions  node-1, node-3: 0.10.0; node-2: 0.9.1',
      expect.stringMatching(
        /-> bring these to 0\.10\.0, one after the other in this order: node-2;/,
      ),
    ]);
  });

  it('says that nothing can be changed, without a master or a quorum', async () => {
    Object.assign(server.ports.cluster, { master: null, quorum: false });
    for (const log of server.ports.cluster.logServers.slice(1)) log.online = false;
    const { code, stdout } = await doctor();
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /WRONG {2}quorum {4}quorum lost: 1 of 3 log servers answer, 2 are needed\n +-> start node-2 or node-3/,
    );
  });

  it('looks at a machine whose node does not run, by its configuration', async () => {
    const configFile = join(directory, 'node.yaml');
    const dataDirectory = join(directory, 'data');
    mkdirSync(dataDirectory, { mode: 0o700 });
    writeFileSync(join(dataDirectory, 'cluster.key'), 'x', { mode: 0o644 });
    chmodSync(join(dataDirectory, 'cluster.key'), 0o644);
    const [clientPort, routePort] = await takeFreePorts(2);
    const own = { name: 'node-9', host: '127.0.0.1', clientPort, routePort };
    const config = {
      name: 'node-9',
      dataDirectory,
      http: { port: server.port },
      logServers: [own],
    };
    writeFileSync(configFile, JSON.stringify(config), { mode: 0o600 });
    const { code, stdout } = await doctor('--config', configFile);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^node-9\n {2}ok {5}config/);
    const key = join(dataDirectory, 'cluster.key');
    expect(stdout).toContain(`WRONG  files     ${key} has mode 0644: others may read it`);
    expect(stdout).toContain(`-> chmod 600 ${key}`);
    expect(stdout).toContain(`(TCP, http.port) is taken by another program`);
    expect(stdout).toContain(`-> ss -lntp 'sport = :${server.port}'`);

    writeFileSync(configFile, JSON.stringify({ ...config, workers: 0 }));
    const refused = await doctor('--config', configFile, '--json');
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stdout)).toMatchObject({
      ok: false,
      nodes: [
        {
          node: configFile,
          checks: [
            {
              name: 'config',
              severity: 'critical',
              detail: expect.stringContaining('node.yaml: workers: '),
              fix: expect.stringContaining(`then again: countersign doctor --config ${configFile}`),
            },
          ],
        },
      ],
    });
    expect((await doctor('--config', configFile, 'node-1')).code).toBe(2);
  });
});
