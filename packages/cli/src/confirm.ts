import { createInterface } from 'node:readline/promises';
import { CliError } from './cli-error.ts';

/** Lets somebody at a terminal type `word`. Throws CliError where there is no terminal, or they type anything else. */
export async function confirmByTyping(word: string, question: string): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new CliError('nobody is there to confirm it: look at the above, then repeat with --yes');
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const typed = await terminal.question(`${question}\nType ${word} to go on: `);
    if (typed.trim() !== word) throw new CliError('not confirmed: nothing was changed');
  } finally {
    terminal.close();
  }
}
