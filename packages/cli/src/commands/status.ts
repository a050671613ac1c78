import type { ClusterView } from '@countersign/api';
import { InvalidArgumentError, type Command } from 'commander';
import { describeStatus } from '../describe-status.ts';
import { parseCount } from '../parse-count.ts';
import { printJson } from '../print.ts';
import { openSession } from '../session.ts';
import { untilInterrupted } from '../until-interrupted.ts';
import { watchStatus } from '../watch-status.ts';

const WATCH_SECONDS = 2;
const WATCH_SECONDS_MAX = 3600;

export function addStatusCommand(program: Command): void {
  program
    .command('status')
    .description('who is master, who is behind, is the log safe, what to do next')
    .option(
      '-w, --watch [seconds]',
      `again every so many seconds (default ${WATCH_SECONDS}) until Ctrl-C; with --json one line each`,
      parseInterval,
    )
    .action(async ({ watch }: { watch?: number | true }, command: Command) => {
      const session = openSession(command);
      if (watch !== undefined) {
        const everyMs = (watch === true ? WATCH_SECONDS : watch) * 1000;
        return untilInterrupted(() => watchStatus(session, everyMs));
      }
      const view = await session.call({ method: 'GET', path: '/api/v1/cluster' });
      if (session.json) return printJson(view);
      const colour = process.stdout.isTTY && !process.env.NO_COLOR;
      process.stdout.write(describeStatus(view as ClusterView, Date.now(), { colour }));
    });
}

function parseInterval(text: string): number {
  const seconds = parseCount(text);
  if (seconds >= 1 && seconds <= WATCH_SECONDS_MAX) return seconds;
  throw new InvalidArgumentError(`It must be from 1 to ${WATCH_SECONDS_MAX} seconds.`);
}
