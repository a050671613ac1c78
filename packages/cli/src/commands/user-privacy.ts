import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { escapeUntrusted } from '@countersign/verification';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { confirmByTyping } from '../confirm.ts';
import { printJson, printLines } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { openSession } from '../session.ts';
import { userPath } from './user-path.ts';

/** Somebody asks what is held about them, or to be forgotten. */
export function addPrivacyCommands(user: Command): void {
  user
    .command('export')
    .description('everything held about a user, as JSON, without secrets')
    .argument('<username>')
    .option('--output <file>', 'a new file that only its owner may read; else standard output')
    .action(async (username: string, { output }: { output?: string }, command: Command) => {
      const session = openSession(command);
      const path = userPath(username, '/export');
      const file = output === undefined ? null : openPrivateFile(output);
      try {
        const reply = await session.call({ method: 'POST', path });
        if (file === null) return printJson(reply);
        writeSync(file, `${JSON.stringify(reply, null, 2)}\n`);
      } catch (error) {
        if (output !== undefined) rmSync(output, { force: true });
        throw error;
      } finally {
        if (file !== null) closeSync(file);
      }
      printLines([escapeUntrusted(`wrote what is held about ${username} to ${output}`, 400)]);
    });
  user
    .command('erase')
    .description('remove a user, and from events whatever tells who it was; for good')
    .argument('<username>')
    .option('--yes', 'do not ask')
    .action(async (username: string, { yes }: { yes?: boolean }, command: Command) => {
      const session = openSession(command);
      if (!yes) {
        const question = `${escapeUntrusted(username)} is removed, and cannot be told from events any more.`;
        await confirmByTyping(username, question);
      }
      const reply = await session.call({ method: 'POST', path: userPath(username, '/erase') });
      const { pseudonym } = reply as { pseudonym: string };
      printWrite(session, reply, `erased ${username}, who is ${pseudonym} in events`);
    });
}

/** Before anything is asked for: what cannot be kept is not told. */
function openPrivateFile(path: string): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === 'EEXIST' ? 'it exists already' : String(code);
    throw new CliError(`cannot write ${path}: ${why}`, { exitCode: 2, cause });
  }
}
