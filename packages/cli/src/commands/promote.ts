import type { ClusterView } from '@countersign/api';
import type { Command } from 'commander';
import { printWrite } from '../print-write.ts';
import { openSession } from '../session.ts';
import type { Session } from '../session.ts';

export function addPromoteCommand(program: Command): void {
  program
    .command('promote')
    .description('make a node the master: hands over while there is one, else takes over')
    .argument('[node]', 'its name; default: the node that answers')
    .action(async (name: string | undefined, _options, command: Command) => {
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
