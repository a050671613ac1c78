import type { Command } from 'commander';
import { CONFIG_FILE } from '../new-node-options.ts';

export function addNatsConfigCommand(program: Command): void {
  program
    .command('nats-config')
    .description(
      'print the account that the servers of your own NATS (nats.urls) need: the public keys of all nodes and what each may do',
    )
    .option('--config <file>', "a node's configuration, on its machine", CONFIG_FILE)
    .action(async ({ config }: { config: string }) => {
      const { describeNatsAccount } = await import('@countersign/node');
      process.stdout.write(`${await describeNatsAccount(config)}\n`);
    });
}
