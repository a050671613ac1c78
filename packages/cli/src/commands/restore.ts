import { resolve } from 'node:path';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { describeBackup } from '../describe-backup.ts';
import { escapeAll } from '../escape-all.ts';
import { printJson, printLines } from '../print.ts';
import { readOpenWith, type OpenOptions } from '../read-backup-secret.ts';
import { collect } from '../setting-arguments.ts';

export function addRestoreCommand(program: Command): void {
  program
    .command('restore')
    .description(
      'begin the cluster anew out of a backup, on a new node with an empty data directory',
    )
    .argument('<file>')
    .option('--config <file>', "the new node's configuration")
    .option(
      '--host <host>',
      'found a secured cluster, as init does: address or name by which others reach this node; repeat for several',
      collect,
      [],
    )
    .option('--identity-file <file>', 'the other half of the public key (AGE-SECRET-KEY-1…)')
    .option(
      '--passphrase-file <file>',
      'its first line; else COUNTERSIGN_BACKUP_PASSPHRASE, else stdin',
    )
    .action(
      async (
        file: string,
        options: OpenOptions & { config?: string; host: string[] },
        command: Command,
      ) => {
        const configFile = options.config;
        if (configFile === undefined) throw new CliError('give --config FILE', { exitCode: 2 });
        const path = resolve(file);
        const { readBackupHeader } = await import('@countersign/backup');
        await readBackupHeader(path);
        const secret = await readOpenWith(options);
        const { quote } = await import('@countersign/doctor/finding');
        const { restoreNode } = await import('@countersign/node');
        const { node, summary, left, clusterId } = await restoreNode({
          configFile,
          backupFile: path,
          secret,
          hosts: options.host.map((each) => each.toLowerCase()),
        });
        if (command.optsWithGlobals<{ json?: boolean }>().json) {
          const { manifest, counts, users, review } = summary;
          return printJson({ ...manifest, restoredAs: node, clusterId, users, counts, review });
        }
        const { review } = escapeAll(summary);
        printLines([
          ...(left ? ['what an earlier restore had left here was removed first'] : []),
          ...describeBackup(summary, Date.now()),
          '',
          `${node} holds it now, and nobody else does: start it with countersign node --config ${quote(configFile)}`,
          ...(clusterId === null
            ? []
            : [
                `it is the cluster ${clusterId} from now on; other machines join it: countersign join-token create, join`,
              ]),
          'TOTP codes made before this moment are refused; HOTP tokens ask for two codes in a row once.',
          'bypasses, recovery codes and sessions of before are void.',
          'look at these, they are as they were when the backup was made:',
          `  blocked users: ${review.blockedUsers.join(', ') || 'none'}`,
          `  API keys: ${review.apiKeys.join(', ') || 'none'}`,
          `  administrators: ${review.administrators.join('; ') || 'none'}`,
          'the cluster key is the old one: if the old machines may be in other hands, change it (countersign keys rotate)',
        ]);
      },
    );
}
