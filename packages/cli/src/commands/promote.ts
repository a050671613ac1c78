import type { ClusterView } from '@countersign/api';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { forcePromotion } from '../force-promotion.ts';
import { openLocalSession } from '../local-session.ts';
import { printWrite } from '../print-write.ts';
import { openSession } from '../session.ts';
import type { Session } from '../session.ts';

type PromoteOptions = { force?: boolean; yes?: boolean };

export function addPromoteCommand(program: Command): void {
  program
    .command('promote')
    .description('make a node the master: hands over while there is one, else takes over')
    .argument('[node]', 'its name; default: the node that answers')
    .option('--force', 'the log lost its majority for good: rebuild it from this node alone')
    .option('--yes', 'with --force: do not ask')
    .option('--socket <path>', 'with --force: administration socket of the node')
    .action(async (name: string | undefined, options: PromoteOptions, command: Command) => {
      if (options.force) {
        const isConfirmed = options.yes === true;
        return forcePromotion(openLocalSession(command, name), name, { isConfirmed });
      }
      if (options.yes) throw new CliError('--yes goes with --force', { exitCode: 2 });
      const session = openSession(command);
      const node = name ?? (await nameOfAnswering(session));
      const path = '/api/v1/cluster/promote';
      const reply = await session.call({ method: 'POST', path, body: { node } });
      printWrite(session, reply, `${node} is the master`);
    });
}

async function nameOfAnswering(session: Session): Promise<string> {
  const view = await session.call({ method: 'GET', path: '/api/v1/cluster' });
  return (view as ClusterView).answeredBy;
}
