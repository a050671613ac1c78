#!/usr/bin/env node
// Starts the command line with Node 24, whichever Node the shell has.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const main = new URL('../src/main.ts', import.meta.url);
const toolNode = fileURLToPath(
  new URL('../../../.tools/node_modules/node/bin/node', import.meta.url),
);

if (Number(process.versions.node.split('.')[0]) >= 24) {
  await import(main.href);
} else if (existsSync(toolNode)) {
  runWith(toolNode);
} else {
  console.error('countersign needs Node 24 or newer: run "npm run setup" in the checkout first');
  process.exitCode = 1;
}

function runWith(node) {
  const child = spawn(node, [fileURLToPath(main), ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // Ctrl-C has already reached the child: it shares our terminal.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.once('error', (error) => {
    console.error(`cannot start ${node}: ${error.message}`);
    process.exitCode = 1;
  });
  child.once('exit', (code, signal) => {
    process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143);
  });
}
