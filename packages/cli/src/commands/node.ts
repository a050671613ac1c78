import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { printWrite } from '../print-write.ts';
import { openSession } from '../session.ts';

export function addNodeCommand(program: Command): void {
  const node = program
    .command('node')
    .description('run a node: its engines, replication agent and auth workers')
    .option('--config <file>', "the node's configuration")
    .action(async ({ config }: { config?: string }) => {
      if (config === undefined) throw new CliError('give --config FILE', { exitCode: 2 });
      // Loaded only here: it brings in everything a node runs.
      const { runNode } = await import('@countersign/node');
      await runNode({ configFile: config });
    });
  node
    .command('remove')
    .description('forget a node that is gone for good')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const session = openSession(command);
      const path = `/api/v1/cluster/nodes/${encodeURIComponent(name)}`;
      const reply = await session.call({ method: 'DELETE', path });
      printWrite(session, reply, `forgot ${name}`);
    });
  node
    .command('replace')
    .description("put another node's log server in the place of one that is gone for good")
    .argument('<name>')
    .argument('<by>', 'a node that is online and has a log server of its own')
    .action(async (name: string, by: string, _options, command: Command) => {
      const session = openSession(command);
      const path = `/api/v1/cluster/nodes/${encodeURIComponent(name)}/replace`;
      const reply = await session.call({ method: 'POST', path, body: { by } });
      printWrite(session, reply, `the log moves: ${by} in place of ${name}`);
    });
}
