import type { Command } from 'commander';
import { printWrite } from '../print-write.ts';
import { openSession } from '../session.ts';

export function addDemoteCommand(program: Command): void {
  program
    .command('demote')
    .description('let the master hand over to the most caught-up node')
    .action(async (_options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'POST', path: '/api/v1/cluster/demote' });
      const { master } = reply as { master?: unknown };
      const done = typeof master === 'string' ? `${master} is the master` : 'handed over';
      printWrite(session, reply, done);
    });
}
