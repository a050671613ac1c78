import type { StoredEvent } from '@countersign/api';
import type { Command } from 'commander';
import { describeEvent, EVENT_HEADINGS } from '../describe-event.ts';
import { parseCount } from '../parse-count.ts';
import { printJson, printTable } from '../print.ts';
import { openSession } from '../session.ts';

type EventOptions = { user?: string; since?: string; type?: string; limit: number };

export function addEventsCommand(program: Command): void {
  program
    .command('events')
    .description('what happened, newest first')
    .option('--user <username>', 'only events of this user')
    .option('--since <time>', 'a duration like 15m, 2h or 7d, or an ISO 8601 time')
    .option('--type <type>', 'only events of this type')
    .option('--limit <n>', 'at most so many, up to 1000', parseCount, 100)
    .action(async (options: EventOptions, command: Command) => {
      const session = openSession(command);
      const query = {
        user: options.user,
        since: options.since,
        type: options.type,
        limit: String(options.limit),
      };
      const reply = await session.call({ method: 'GET', path: '/api/v1/events', query });
      if (session.json) return printJson(reply);
      const { events } = reply as { events: StoredEvent[] };
      printTable(EVENT_HEADINGS, events.map(describeEvent));
    });
}
