// Makes the checkout ready to run: Node 24, pnpm, the dependencies and nats-server, each only when
// it is missing. Runs on Node 20 with nothing installed. What is fetched goes to .tools/ and
// node_modules/, never to the system.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { realpathSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { fetchNatsServer } from './fetch-nats-server.mjs';

export const checkout = dirname(dirname(realpathSync(fileURLToPath(import.meta.url))));

const nodeVersion = '24.21.0';
const minimumNodeMajor = 24;
const minimumNats = [2, 10, 23];
const lockWaitSeconds = 900;

const tools = join(checkout, '.tools');
const toolNode = join(tools, 'node_modules', 'node', 'bin', 'node');
const toolPnpm = join(tools, 'node_modules', 'pnpm', 'pnpm');
const toolNats = join(tools, 'nats-server', 'nats-server');
const dependenciesStamp = join(tools, 'dependencies.sha256');

/** One line for the operator; no stack. */
class SetupError extends Error {}

/**
 * Sets up what is missing and returns the Node binary to run the servers with.
 * Two set-ups at the same time take turns.
 */
export function setUp() {
  const missing = listMissing();
  if (missing.length > 0) {
    mkdirSync(tools, { recursive: true });
    runLocked();
    const still = listMissing();
    if (still.length > 0) throw new SetupError(`set-up left undone: ${still.join(', ')}`);
  }
  return { nodeBinary: nodeBinary() };
}

/** Prints why a set-up failed and returns the exit code. */
export function reportFailure(error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`set-up: ${error.message}`);
  return 1;
}

function listMissing() {
  const missing = [];
  if (!systemNodeIsNewEnough() && !hasToolNode()) missing.push('Node');
  if (!hasToolPnpm()) missing.push('pnpm');
  if (!hasDependencies()) missing.push('dependencies');
  if (!hasNatsServer()) missing.push('nats-server');
  return missing;
}

// flock(1) holds the lock for the life of the child, so that nothing is left when it is killed.
function runLocked() {
  const lock = join(tools, 'setup.lock');
  const script = fileURLToPath(import.meta.url);
  const args = [
    '-w',
    String(lockWaitSeconds),
    '-E',
    '75',
    lock,
    process.execPath,
    script,
    '--locked',
  ];
  const { status, error } = spawnSync('flock', args, { stdio: 'inherit' });
  if (error) throw new SetupError('flock is missing: install the package util-linux');
  if (status === 75) {
    throw new SetupError(`another set-up has held ${lock} for ${lockWaitSeconds} s: end it first`);
  }
  if (status !== 0) process.exit(status ?? 1);
}

async function setUpLocked() {
  const step = async (what, isDone, run) => {
    if (isDone()) return;
    const startedAt = performance.now();
    console.log(`set-up: ${what} …`);
    await run();
    console.log(`set-up: ${what} done in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  };
  const hasNode = () => systemNodeIsNewEnough() || hasToolNode();
  await step('Node and pnpm', () => hasNode() && hasToolPnpm(), installTools);
  await step('dependencies', hasDependencies, installDependencies);
  await step('nats-server', hasNatsServer, installNatsServer);
}

// Both in one go: npm removes what the same command line does not name.
function installTools() {
  const wanted = [`pnpm@${pnpmVersion()}`];
  if (!systemNodeIsNewEnough()) wanted.push(`node@${nodeVersion}`);
  const npmArgs = [
    'install',
    '--no-save',
    '--no-package-lock',
    '--no-audit',
    '--no-fund',
    '--no-update-notifier',
  ];
  runOrFail('npm', [...npmArgs, '--loglevel=error', '--prefix', tools, ...wanted], {
    failure: `npm could not install ${wanted.join(' and ')}`,
  });
}

function installDependencies() {
  rmSync(dependenciesStamp, { force: true });
  runOrFail(toolPnpm, ['install', '--frozen-lockfile', '--reporter=append-only'], {
    // CI keeps pnpm from asking questions; its own version is settled here, not by the lockfile.
    env: { ...process.env, CI: 'true', pnpm_config_pm_on_fail: 'ignore', PATH: pathWithNode() },
    failure: 'pnpm could not install the dependencies',
  });
  writeFileSync(dependenciesStamp, dependenciesHash());
}

async function installNatsServer() {
  const reasons = await fetchNatsServer({ destination: toolNats, isGoodEnough: isNewEnoughNats });
  if (hasNatsServer()) return;
  throw new SetupError(
    `nats-server ${minimumNats.join('.')} or newer is missing (${reasons.join('; ')}): ` +
      'install it so that it is on PATH, or name one in COUNTERSIGN_NATS_SERVER, ' +
      `or put one at ${toolNats}`,
  );
}

function runOrFail(command, args, { env = process.env, failure }) {
  const { status, error } = spawnSync(command, args, { cwd: checkout, env, stdio: 'inherit' });
  if (error) throw new SetupError(`${failure} (${error.message})`);
  if (status !== 0) throw new SetupError(`${failure} (exit ${status}, see above)`);
}

export function nodeBinary() {
  return systemNodeIsNewEnough() ? process.execPath : toolNode;
}

/** PATH with our Node first, for the tools that start `node` themselves. */
export function pathWithNode() {
  return [dirname(nodeBinary()), process.env.PATH ?? ''].join(delimiter);
}

function systemNodeIsNewEnough() {
  return Number(process.versions.node.split('.')[0]) >= minimumNodeMajor;
}

function hasToolNode() {
  const manifest = readJson(join(tools, 'node_modules', 'node', 'package.json'));
  return manifest?.version === nodeVersion && isExecutable(toolNode);
}

function hasToolPnpm() {
  const manifest = readJson(join(tools, 'node_modules', 'pnpm', 'package.json'));
  return manifest?.version === pnpmVersion() && isExecutable(toolPnpm);
}

function pnpmVersion() {
  const { packageManager } = readJson(join(checkout, 'package.json'));
  return packageManager.split('@')[1].split('+')[0];
}

function hasDependencies() {
  if (!existsSync(join(checkout, 'node_modules', '.modules.yaml'))) return false;
  return readText(dependenciesStamp) === dependenciesHash();
}

/** Covers everything that decides what `pnpm install` would do. */
function dependenciesHash() {
  const hash = createHash('sha256');
  const packages = readdirSync(join(checkout, 'packages')).sort();
  const files = [
    ...['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml', 'test/package.json'],
    ...packages.map((name) => `packages/${name}/package.json`),
  ];
  hash.update(`${process.platform}-${process.arch}\0`);
  for (const file of files) hash.update(`${file}\0${readText(join(checkout, file)) ?? ''}\0`);
  return hash.digest('hex');
}

// The same order as `findNatsServer` in packages/engines, which runs what is found here.
function hasNatsServer() {
  const chosen = process.env.COUNTERSIGN_NATS_SERVER;
  if (chosen) {
    if (isNewEnoughNats(chosen)) return true;
    throw new SetupError(
      `COUNTERSIGN_NATS_SERVER (${chosen}) is not a nats-server ${minimumNats.join('.')} or newer`,
    );
  }
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  const onPath = folders.map((folder) => join(folder, 'nats-server')).find(isExecutable);
  return [onPath, toolNats].some((binary) => binary && isNewEnoughNats(binary));
}

function isNewEnoughNats(binary) {
  if (!isExecutable(binary)) return false;
  const { stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8', timeout: 5_000 });
  const match = /(\d+)\.(\d+)\.(\d+)(-[\w.]+)?/.exec(stdout ?? '');
  if (!match) return false;
  for (const [index, wanted] of minimumNats.entries()) {
    const found = Number(match[index + 1]);
    if (found !== wanted) return found > wanted;
  }
  // 2.10.23-RC.1 comes before 2.10.23.
  return match[4] === undefined;
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function readJson(path) {
  const text = readText(path);
  return text === undefined ? undefined : JSON.parse(text);
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    if (process.argv.includes('--locked')) await setUpLocked();
    else setUp();
  } catch (error) {
    process.exitCode = reportFailure(error);
  }
}
