// npm run demo | test | longer | containers | faults | check | bench | soak | settings-docs | setup: sets up what is missing, then runs the
// command with Node 24, passing signals and the exit code through.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { countTests } from './count-tests.mjs';
import { checkout, pathWithNode, reportFailure, setUp } from './setup.mjs';

const inCheckout = (...parts) => join(checkout, ...parts);

const commands = {
  setup: () => 0,
  demo: (args) => runNode([inCheckout('packages/cli/src/main.ts'), 'demo', ...args]),
  test: (args) => runTests(names(args) ? args : ['--project=unit', '--project=cluster', ...args]),
  longer: (args) => runTests(['--project=longer', ...args]),
  containers: testContainers,
  faults: (args) => runTests(['--project=faults', ...args]),
  check: runChecks,
  bench: (args) => runNode([inCheckout('test/bench/run.ts'), ...args]),
  'settings-docs': () => runNode([inCheckout('packages/verification/src/write-settings-page.ts')]),
  soak: (args) => runNode([inCheckout('test/soak.ts'), ...args]),
};

/** Whether the arguments choose the tests themselves. */
const names = (args) => args.some((arg) => arg.startsWith('--project') || !arg.startsWith('-'));

let node;
let child;

async function main() {
  const [name = '', ...args] = process.argv.slice(2);
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command) {
    console.error(`usage: node scripts/run.mjs ${Object.keys(commands).join('|')} [arguments]`);
    return 2;
  }
  try {
    node = setUp().nodeBinary;
  } catch (error) {
    return reportFailure(error);
  }
  forwardSignals();
  return await command(args);
}

/** Every test, or those that the arguments name; the last line printed is the count. */
async function runTests(args) {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-tests-'));
  const resultsFile = join(folder, 'results.json');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${resultsFile}`];
    const exitCode = await runNode([
      inCheckout('node_modules/vitest/vitest.mjs'),
      'run',
      ...reporters,
      ...args,
    ]);
    const count = countTests({
      resultsFile,
      exitCode,
      skipsFail: process.env.REQUIRE_ENGINES === '1',
    });
    for (const line of count.lines) console.log(line);
    return count.exitCode;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What needs a container engine: nothing but a line where none answers, a failure where engines are required. */
async function testContainers(args) {
  const { status } = spawnSync('docker', ['version'], { stdio: 'ignore', timeout: 30_000 });
  if (status !== 0) {
    const isRequired = process.env.REQUIRE_ENGINES === '1';
    const how = isRequired ? 'FAILED because it was skipped' : 'SKIPPED';
    console.log(`${how}: the container tests (no container engine answers to "docker version")`);
    console.log(isRequired ? '0 passed, 1 failed' : '0 passed, 0 failed');
    return isRequired ? 1 : 0;
  }
  process.env.COUNTERSIGN_TEST_ENGINES = 'containers';
  return await runTests(['--project=containers', '--project=engines-in-containers', ...args]);
}

/** Format, lint, types and the unit tests; `--no-tests` leaves the tests out. */
async function runChecks(args) {
  const sources = ['packages', 'test', 'scripts', 'vitest.config.ts'];
  const bin = (...parts) => inCheckout('node_modules', ...parts);
  const steps = {
    format: [bin('oxfmt/bin/oxfmt'), '--check', ...sources],
    lint: [bin('oxlint/bin/oxlint'), '--type-aware', ...sources],
    types: [bin('typescript/bin/tsc'), '--noEmit', '-p', inCheckout('tsconfig.json')],
  };
  const lines = [];
  let failed = false;
  const timed = async (name, run) => {
    const startedAt = performance.now();
    const exitCode = await run();
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    lines.push(`check: ${name} ${exitCode === 0 ? 'passed' : 'FAILED'} in ${seconds} s`);
    failed ||= exitCode !== 0;
  };
  for (const [name, command] of Object.entries(steps)) await timed(name, () => runNode(command));
  if (!args.includes('--no-tests')) await timed('unit tests', () => runTests(['--project=unit']));
  console.log(lines.join('\n'));
  return failed ? 1 : 0;
}

/**
 * Runs a program with our Node and resolves to its exit code. It has its own session, so that
 * Ctrl-C reaches it once, through us; setpriv asks it to stop should we be killed.
 */
function runNode(args) {
  if (args[0].endsWith('.ts') && !existsSync(args[0])) {
    console.error(`${args[0]} does not exist`);
    return 1;
  }
  return new Promise((resolve) => {
    child = spawn('setpriv', ['--pdeathsig', 'TERM', '--', node, ...args], {
      cwd: checkout,
      stdio: 'inherit',
      detached: true,
      env: {
        ...process.env,
        PATH: pathWithNode(),
        NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? inCheckout('.tools/compile-cache'),
      },
    });
    child.once('error', (error) => {
      console.error(
        `cannot start ${node}: ${error.message} (setpriv is in the package util-linux)`,
      );
      resolve(1);
    });
    child.once('exit', (code, signal) => resolve(code ?? signalExitCode(signal)));
  });
}

// A terminal's Ctrl-C arrives twice, from the terminal and from npm; a second press comes later.
function forwardSignals() {
  const sameSignalMs = 500;
  const lastAt = new Map();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      const now = performance.now();
      if (now - (lastAt.get(signal) ?? -Infinity) < sameSignalMs) return;
      lastAt.set(signal, now);
      child?.kill(signal);
    });
  }
}

function signalExitCode(signal) {
  return { SIGHUP: 129, SIGINT: 130, SIGKILL: 137, SIGTERM: 143 }[signal] ?? 1;
}

process.exitCode = await main();
