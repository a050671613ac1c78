import type { Command } from 'commander';
import { parseCount } from '../parse-count.ts';
import { addDemoOutboxCommand } from './demo-outbox.ts';

type DemoCommandOptions = {
  dir: string;
  nodes: number;
  basePort: number;
  workers: number;
  fresh?: boolean;
};

export function addDemoCommand(program: Command): void {
  const demo = program
    .command('demo')
    .description('run a whole cluster on this machine to try things out')
    .option('--dir <directory>', 'where it keeps its data', './demo-data')
    .option('--nodes <n>', 'how many nodes', parseCount, 3)
    .option('--base-port <port>', 'the first node listens here, the others above', parseCount, 8080)
    .option('--workers <n>', 'auth workers of each node', parseCount, 1)
    .option('--fresh', 'begin anew: removes the data of an earlier demo')
    .action(async ({ dir, nodes, basePort, workers, fresh }: DemoCommandOptions) => {
      // Loaded only here: it brings in everything a node runs.
      const { runDemo } = await import('@countersign/node');
      await runDemo({ directory: dir, nodes, basePort, workers, fresh: fresh ?? false });
    });
  addDemoOutboxCommand(demo);
}
