import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { CliError } from './cli-error.ts';

const MAX_INPUT_BYTES = 4_096;
const MAX_TEXT_BYTES = 64 * 1024;

/** The first line of stdin, trimmed; asks for it at a terminal. Throws CliError if there is none. */
export async function readInputLine(what: string): Promise<string> {
  const line = process.stdin.isTTY ? await askFor(what) : (await readFirstLine()).trim();
  if (line === '') throw new CliError(`${what} is missing on stdin`, { exitCode: 2 });
  return line;
}

/**
 * As {@link readInputLine}, for what nobody may read on the screen: nothing that is typed shows, and it is typed twice.
 */
export async function readNewSecret(what: string): Promise<string> {
  if (!process.stdin.isTTY) return readInputLine(what);
  const secret = await askHidden(what);
  if (secret === '') throw new CliError(`no ${what} was typed`, { exitCode: 2 });
  if ((await askHidden(`${what} once more`)) === secret) return secret;
  throw new CliError('the two differ: nothing was changed', { exitCode: 2 });
}

/** For a secret that exists: typed once. */
export async function readSecret(what: string): Promise<string> {
  if (!process.stdin.isTTY) return readInputLine(what);
  const secret = await askHidden(what);
  if (secret === '') throw new CliError(`no ${what} was typed`, { exitCode: 2 });
  return secret;
}

/** A password that exists, exactly as it is typed: spaces may be part of it. */
export async function readPassword(): Promise<string> {
  const password = process.stdin.isTTY ? await typeHidden('password') : await readFirstLine();
  if (password === '') throw new CliError('the password is missing on stdin', { exitCode: 2 });
  return password;
}

/** As {@link readSecret}, but from stdin all of it, without its last line break: at most 64 KiB. */
export async function readSecretText(what: string): Promise<string> {
  if (process.stdin.isTTY) return readSecret(what);
  const text = (await readStdin(MAX_TEXT_BYTES)).replace(/\r?\n$/, '');
  if (text === '') throw new CliError(`${what} is missing on stdin`, { exitCode: 2 });
  return text;
}

async function askHidden(what: string): Promise<string> {
  return (await typeHidden(what)).trim();
}

async function typeHidden(what: string): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  process.stderr.write(`${what}: `);
  const interrupted = Promise.withResolvers<never>();
  terminal.once('SIGINT', () => interrupted.reject(new CliError('nothing was changed')));
  try {
    return await Promise.race([terminal.question(''), interrupted.promise]);
  } finally {
    terminal.close();
    process.stderr.write('\n');
  }
}

async function askFor(what: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await terminal.question(`${what}: `)).trim();
  } finally {
    terminal.close();
  }
}

/** What came with an earlier line: the next one begins with it. */
let rest = '';

async function readFirstLine(): Promise<string> {
  while (!rest.includes('\n')) {
    const chunk = await readChunk();
    if (chunk === null) break;
    rest += chunk;
    if (rest.length > MAX_INPUT_BYTES) throw new CliError('too much on stdin', { exitCode: 2 });
  }
  const [line = '', ...more] = rest.split('\n');
  rest = more.join('\n');
  return line.replace(/\r$/, '');
}

/** Not to the end: who answers a question may keep the pipe open. Null at the end. */
async function readChunk(): Promise<string | null> {
  const { stdin } = process;
  stdin.setEncoding('utf8');
  for (;;) {
    const chunk = stdin.read() as string | null;
    if (chunk !== null) return chunk;
    if (stdin.readableEnded || stdin.destroyed) return null;
    const waiting = new AbortController();
    const { signal } = waiting;
    if ('ref' in stdin) stdin.ref();
    try {
      await Promise.race([once(stdin, 'readable', { signal }), once(stdin, 'end', { signal })]);
    } finally {
      waiting.abort();
      // A pipe that stays open must not keep the command alive.
      if ('unref' in stdin) stdin.unref();
    }
  }
}

async function readStdin(maxLength: number): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > maxLength) throw new CliError('too much on stdin', { exitCode: 2 });
  }
  return text;
}
