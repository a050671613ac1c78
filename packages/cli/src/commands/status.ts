import type { ClusterView } from '@countersign/api';
import type { Command } from 'commander';
import { describeStatus } from '../describe-status.ts';
import { printJson } from '../print.ts';
import { openSession } from '../session.ts';

export function addStatusCommand(program: Command): void {
  program
    .command('status')
    .description('who is master, who is behind, is the log safe, what to do next')
    .action(async (_options, command: Command) => {
      const session = openSession(command);
      const view = await session.call({ method: 'GET', path: '/api/v1/cluster' });
      if (session.json) return printJson(view);
      const colour = process.stdout.isTTY && !process.env.NO_COLOR;
      process.stdout.write(describeStatus(view as ClusterView, Date.now(), { colour }));
    });
}
