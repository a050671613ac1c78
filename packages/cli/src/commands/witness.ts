import type { Command } from 'commander';
import { CONFIG_FILE } from '../new-node-options.ts';

export function addWitnessCommand(program: Command): void {
  program
    .command('witness')
    .description(
      'run a witness: a log server only, the third vote of a site with two nodes; made by "join --witness"',
    )
    .option('--config <file>', "the witness's configuration", CONFIG_FILE)
    .action(async ({ config }: { config: string }) => {
      // Loaded only here: it brings in what a node runs.
      const { runWitness } = await import('@countersign/node');
      await runWitness({ configFile: config });
    });
}
