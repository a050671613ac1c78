// Loaded by --import: kill -9 of the program before its N-th step that others could see, which is a change of the file
// system or bytes into a socket. A file that is written is a step while it is still empty, too.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';
import process from 'node:process';

const {
  COUNTERSIGN_TEST_DIE_AT: at,
  /** Only steps on paths with this in them count. */
  COUNTERSIGN_TEST_DIE_PATH: part,
  /** They count from when this file is there; it is gone with the program, whose next life lasts. */
  COUNTERSIGN_TEST_DIE_SINCE: since,
  /** How the path of the program's main module ends. */
  COUNTERSIGN_TEST_DIE_IN: main = 'cli/src/main.ts',
} = process.env;
const { existsSync, openSync, closeSync, rmSync } = fs;
// What the program starts are processes of their own.
const isProgram = process.argv[1]?.endsWith(main);
let left = isProgram ? Number(at) : Infinity;

/** Whether it counted. */
function step(path) {
  if (part !== undefined && !String(path).includes(part)) return false;
  if (since !== undefined && !existsSync(since)) return false;
  left -= 1;
  if (left === 0) {
    if (since !== undefined) rmSync(since);
    process.kill(process.pid, 'SIGKILL');
  }
  return true;
}

function beforeEach(of, names, look) {
  for (const name of names) {
    const original = of[name];
    of[name] = function (...given) {
      look(...given);
      return original.apply(this, given);
    };
  }
}

function beforeWriting(path, _data, options) {
  // Through a descriptor: it was opened a step before.
  if (typeof path !== 'string') return void step('');
  const wasCounted = step(path);
  if (wasCounted && left === 1) closeSync(openSync(path, options?.flag ?? 'w', options?.mode));
  if (wasCounted) step(path);
}

function beforeOpening(path, flags = 'r') {
  if (flags !== 'r') step(path);
}

/** @param {any} of  @param {string} suffix */
function countStepsOf(of, suffix) {
  const named = (...names) => names.map((name) => name + suffix);
  beforeEach(of, named('mkdir', 'rename', 'link', 'unlink', 'rm', 'rmdir', 'chmod'), step);
  beforeEach(of, named('writeFile'), beforeWriting);
  beforeEach(of, named('open'), beforeOpening);
}

countStepsOf(fs, 'Sync');
countStepsOf(fs.promises, '');
beforeEach(net.Socket.prototype, ['write'], () => part === undefined && step(''));
syncBuiltinESMExports();
