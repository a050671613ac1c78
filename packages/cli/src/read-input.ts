import { createInterface } from 'node:readline/promises';
import { CliError } from './cli-error.ts';

const MAX_INPUT_BYTES = 4_096;

/** The first line of stdin, trimmed; asks for it at a terminal. Throws CliError if there is none. */
export async function readInputLine(what: string): Promise<string> {
  const line = process.stdin.isTTY ? await askFor(what) : await readFirstLine();
  if (line === '') throw new CliError(`${what} is missing on stdin`, { exitCode: 2 });
  return line;
}

async function askFor(what: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await terminal.question(`${what}: `)).trim();
  } finally {
    terminal.close();
  }
}

async function readFirstLine(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > MAX_INPUT_BYTES) throw new CliError('too much on stdin', { exitCode: 2 });
  }
  return text.split('\n', 1)[0]?.trim() ?? '';
}
