import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, expect, it } from 'vitest';

import { buildImage, checkout, docker } from './docker.ts';

const run = randomBytes(4).toString('hex');
const image = `countersign-test:${run}`;
const mostBytes = 350 * 1000 * 1000;

/** What a careless operator leaves in the checkout. */
const planted = ['cluster.key', '.env', 'packages/node/cluster.key', 'packages/node/.env'].map(
  (name) => join(checkout, `${name}.${run}`),
);

beforeAll(async () => {
  for (const file of planted) await writeFile(file, 'a secret\n', { mode: 0o600 });
  try {
    await buildImage(image);
  } finally {
    for (const file of planted) await rm(file, { force: true });
  }
});

afterAll(async () => void (await docker(['rmi', '--force', image])));

/** A shell in a container that may write nowhere but to its data and /tmp. */
function shell(script: string): Promise<string> {
  const locked = ['--read-only', '--tmpfs', '/tmp', '--cap-drop', 'ALL', '--network', 'none'];
  locked.push('--security-opt', 'no-new-privileges');
  return docker(['run', '--rm', ...locked, '--entrypoint', 'sh', image, '-euc', script]);
}

/** What the image says of itself. */
async function inspect<T>(field: string): Promise<T> {
  return JSON.parse(await docker(['inspect', '-f', `{{json ${field}}}`, image])) as T;
}

it('the image takes at most 350 MB', async () => {
  const bytes = await inspect<number>('.Size');
  console.log(`image: ${(bytes / 1e6).toFixed(0)} MB`);
  expect(bytes).toBeLessThanOrEqual(mostBytes);
});

it('the command line runs as an ordinary user on a read-only root filesystem', async () => {
  const said = await shell('id -u; countersign --help | head -1');
  expect(said).toMatch(/^10001\nUsage: countersign /);
});

it('the user may write to its data directory, which only it can read, and to nothing else', async () => {
  expect(await shell('touch /var/lib/countersign/x; stat -c "%a %U" /var/lib/countersign')).toBe(
    '700 countersign',
  );
  // Also where somebody forgets --read-only.
  const find =
    'find / -xdev -writable -not -type l -not -path "/proc/*" -not -path "/dev/*" 2>/dev/null || :';
  const writable = await docker(['run', '--rm', '--entrypoint', 'sh', image, '-c', find]);
  const unexpected = writable
    .split('\n')
    .filter(
      (path) =>
        path && !/^\/(tmp|var\/tmp|run\/lock|run\/countersign|var\/lib\/countersign)$/.test(path),
    );
  expect(unexpected).toEqual([]);
});

it('nothing in the image belongs to a stranger or gains rights when run', async () => {
  const [owned, raised] = await Promise.all([
    shell('find /opt/countersign ! -user root | head'),
    shell('find /opt /usr/local -xdev -perm /6000 | head'),
  ]);
  expect(owned + raised).toBe('');
});

it('of the checkout only programs are in the image: no tests, no history, no secrets', async () => {
  const listed = await shell('cd /opt/countersign && find . -type f -not -path "*/node_modules/*"');
  const files = listed.split('\n');
  const programs =
    /^\.\/packages\/[a-z-]+\/(package\.json|bin\/.*\.mjs|src\/.*\.(ts|sql|html|css|js))$/;
  const others = files.filter((file) => !programs.test(file)).toSorted();
  const compose = ['add-samples.sh', 'found-cluster.mjs', 'operate.sh', 'setup.mjs'];
  compose.push('start-node.sh', 'write-config.mjs');
  expect(others).toEqual([
    ...compose.map((name) => `./deploy/docker/compose/${name}`),
    './deploy/docker/healthcheck.mjs',
    './package.json',
    './pnpm-lock.yaml',
    './pnpm-workspace.yaml',
  ]);
  expect(files.filter((file) => /\.test\.ts$|\/testing\//.test(file))).toEqual([]);
  expect(files.length).toBeGreaterThan(300);
});

it('the layers name no secret and the health check needs no shell', async () => {
  const history = await docker(['history', '--no-trunc', '--format', '{{.CreatedBy}}', image]);
  expect(history).not.toMatch(/password|secret|token|\.key\b/i);
  expect(await inspect<{ Test: string[] }>('.Config.Healthcheck')).toMatchObject({
    Test: ['CMD', 'node', expect.stringContaining('healthcheck.mjs'), expect.any(String)],
  });
  expect(await inspect('.Config.User')).toBe('countersign');
});

it('a node without a configuration says so in one line', async () => {
  const failed = docker(['run', '--rm', '--read-only', '--tmpfs', '/tmp', image]);
  await expect(failed).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^[^\n]*\/etc\/countersign\/countersign\.yaml[^\n]*\n?$/),
  });
});
