import { once } from 'node:events';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { exportUsers } from '../export-users.ts';
import { printJson, printLines } from '../print.ts';
import { openSession } from '../session.ts';

export function addExportCommand(program: Command): void {
  program
    .command('export')
    .description('lists for other programs')
    .command('users')
    .description('all users as CSV: who they are, and how they stand; no secrets')
    .option('--csv', 'as CSV, which is what there is')
    .option('--output <file>', 'into a file that is not there yet; else to stdout')
    .action(async (options: { output?: string }, command: Command) => {
      const session = openSession(command);
      if (options.output === undefined) {
        for await (const lines of exportUsers(session)) {
          if (!process.stdout.write(lines)) await once(process.stdout, 'drain');
        }
        return;
      }
      const { writeNewFile } = await import('@countersign/backup');
      const file = resolve(options.output);
      let users = 0;
      await writeNewFile(
        file,
        exportUsers(session, (soFar) => (users = soFar)),
      );
      if (session.json) return printJson({ file, users });
      printLines([`${file}: ${users} users`]);
    });
}
