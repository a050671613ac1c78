import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { CliError } from './cli-error.ts';

const MAX_INPUT_BYTES = 64 * 1024;

/**
 * All of stdin without its last line break; at a terminal a line that is asked for and not shown.
 * @throws CliError if there is none, or over 64 KiB
 */
export async function readSecret(what: string): Promise<string> {
  const secret = process.stdin.isTTY ? await askUnseen(what) : await readAll();
  if (secret === '') throw new CliError(`${what} is missing on stdin`, { exitCode: 2 });
  return secret;
}

async function askUnseen(what: string): Promise<string> {
  process.stderr.write(`${what}: `);
  const unseen = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: unseen, terminal: true });
  const interrupted = new AbortController();
  terminal.once('SIGINT', () => interrupted.abort());
  try {
    return await terminal.question('', { signal: interrupted.signal });
  } catch (cause) {
    throw new CliError('nothing was changed', { cause });
  } finally {
    terminal.close();
    process.stderr.write('\n');
  }
}

async function readAll(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > MAX_INPUT_BYTES) throw new CliError('too much on stdin', { exitCode: 2 });
  }
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}
