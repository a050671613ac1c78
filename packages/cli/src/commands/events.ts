import type { StoredEvent } from '@countersign/api';
import { escapeUntrusted } from '@countersign/verification';
import { Option, type Command } from 'commander';
import { describeEvent, EVENT_HEADINGS, EVENT_WIDTHS } from '../describe-event.ts';
import { escapeAll } from '../escape-all.ts';
import { followEvents } from '../follow-events.ts';
import { parseCount } from '../parse-count.ts';
import { printJson, printJsonLine, printLines, printTable } from '../print.ts';
import { openSession } from '../session.ts';
import type { Session } from '../session.ts';
import { formatRow } from '../table.ts';
import { untilInterrupted } from '../until-interrupted.ts';

type EventOptions = {
  user?: string;
  since?: string;
  type?: string;
  limit: number;
  follow?: true;
};

export function addEventsCommand(program: Command): void {
  program
    .command('events')
    .description('what happened, newest first; with --follow as it arrives')
    .option('--user <username>', 'only events of this user')
    .option('--since <time>', 'a duration like 15m, 2h or 7d, or an ISO 8601 time')
    .option('--type <type>', 'only events of this type')
    .option('--limit <n>', 'at most so many, up to 1000', parseCount, 100)
    .addOption(
      new Option(
        '-f, --follow',
        'go on with what arrives until Ctrl-C; with --json one line each',
      ).conflicts('limit'),
    )
    .action(async (options: EventOptions, command: Command) => {
      const session = openSession(command);
      if (options.follow) return untilInterrupted(() => printAsTheyArrive(session, options));
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

async function printAsTheyArrive(session: Session, options: EventOptions): Promise<void> {
  const { user, type, since } = options;
  if (!session.json) printLines([formatRow(EVENT_HEADINGS, EVENT_WIDTHS)]);
  await followEvents(session, {
    filter: { ...(user !== undefined && { user }), ...(type !== undefined && { type }) },
    ...(since !== undefined && { since }),
    onEvents(events) {
      if (session.json) return events.forEach(printJsonLine);
      const rows = escapeAll(events.map(describeEvent));
      printLines(rows.map((row) => formatRow(row, EVENT_WIDTHS)));
    },
    onSilence(why) {
      const note = why === null ? 'answered again' : `${why}; trying again`;
      process.stderr.write(`countersign: ${escapeUntrusted(note, 2_000)}\n`);
    },
  });
}
