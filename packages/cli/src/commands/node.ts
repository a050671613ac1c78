import type { Command } from 'commander';

export function addNodeCommand(program: Command): void {
  program
    .command('node')
    .description('run a node: its engines, replication agent and auth workers')
    .requiredOption('--config <file>', "the node's configuration")
    .action(async ({ config }: { config: string }) => {
      // Loaded only here: it brings in everything a node runs.
      const { runNode } = await import('@countersign/node');
      await runNode({ configFile: config });
    });
}
