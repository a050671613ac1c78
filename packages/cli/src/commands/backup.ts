import { resolve } from 'node:path';
import type { Command } from 'commander';
import { describeBackup } from '../describe-backup.ts';
import { fetchBackup } from '../fetch-backup.ts';
import { openLocalSession } from '../local-session.ts';
import { printJson, printLines } from '../print.ts';
import {
  readOpenWith,
  readSealTo,
  type OpenOptions,
  type SealOptions,
} from '../read-backup-secret.ts';

export function addBackupCommand(program: Command): void {
  const backup = program
    .command('backup')
    .description(
      "everything the cluster knows, at one revision, into one encrypted file; at a node's own socket",
    )
    .argument('<file>', 'a file that is not there yet')
    .option('--events', 'with the events too: what happened, by whom and when')
    .option(
      '--recipient <key>',
      'encrypt to this public key of age (age1…) instead of a passphrase',
    )
    .option(
      '--passphrase-file <file>',
      'its first line; else COUNTERSIGN_BACKUP_PASSPHRASE, else stdin',
    )
    .option('--socket <path>', 'administration socket of the node')
    .action(async (file: string, options: SealOptions & { events?: boolean }, command: Command) => {
      const session = openLocalSession(command);
      const to = await readSealTo(options);
      const { sealBackup, writeNewFile } = await import('@countersign/backup');
      const path = resolve(file);
      const wanted = {
        events: options.events ?? false,
        reason: command.optsWithGlobals<{ why?: string }>().why ?? null,
      };
      let revision = 0;
      const { sizeBytes } = await writeNewFile(
        path,
        sealBackup(fetchBackup(session.socketPath, wanted), to, (manifest) => {
          revision = manifest.revision;
        }),
      );
      if (session.json) return printJson({ file: path, revision, sizeBytes });
      printLines([
        `${path}: revision ${revision}, ${sizeBytes} bytes`,
        'look into it now and then: countersign backup verify FILE',
      ]);
    });
  backup
    .command('verify')
    .description('read a backup to its end and check everything in it; changes nothing')
    .argument('<file>')
    .option('--identity-file <file>', 'the other half of the public key (AGE-SECRET-KEY-1…)')
    .option(
      '--passphrase-file <file>',
      'its first line; else COUNTERSIGN_BACKUP_PASSPHRASE, else stdin',
    )
    .action(async (file: string, options: OpenOptions, command: Command) => {
      const { readBackup, readBackupHeader } = await import('@countersign/backup');
      const path = resolve(file);
      // Before anybody types a passphrase for what is no backup.
      await readBackupHeader(path);
      const summary = await readBackup(path, await readOpenWith(options));
      if (command.optsWithGlobals<{ json?: boolean }>().json) {
        const { manifest, counts, users } = summary;
        return printJson({ file: path, ...manifest, users, counts });
      }
      printLines([`${path} is whole`, ...describeBackup(summary, Date.now())]);
    });
}
