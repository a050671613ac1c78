import { setTimeout as sleep } from 'node:timers/promises';
import type { OutboxEntry } from '@countersign/api';
import { escapeUntrusted } from '@countersign/verification';
import type { Command } from 'commander';
import { UnansweredError } from '../cli-error.ts';
import { formatLocalTime } from '../format-time.ts';
import { printJson, printJsonLine, printLines } from '../print.ts';
import { openSession, type Session } from '../session.ts';
import { untilInterrupted } from '../until-interrupted.ts';

const EVERY_MS = 1000;

export function addDemoOutboxCommand(demo: Command): void {
  demo
    .command('outbox')
    .description('texts and mails of the running demo: they go nowhere else')
    .option('-f, --follow', 'go on with what comes until Ctrl-C; with --json one line each')
    .action(async ({ follow }: { follow?: true }, command: Command) => {
      const session = openSession(command);
      if (follow) return untilInterrupted(() => printAsTheyCome(session));
      const entries = await readOutbox(session);
      if (session.json) return printJson({ entries });
      printLines(entries.length === 0 ? ['nothing was sent yet'] : entries.flatMap(describe));
    });
}

async function printAsTheyCome(session: Session): Promise<never> {
  let known = new Set<string>();
  for (;;) {
    try {
      const entries = await readOutbox(session);
      for (const entry of entries.filter((each) => !known.has(keyOf(each)))) {
        if (session.json) printJsonLine(entry);
        else printLines(describe(entry));
      }
      known = new Set(entries.map(keyOf));
    } catch (error) {
      if (!(error instanceof UnansweredError)) throw error;
    }
    await sleep(EVERY_MS);
  }
}

// A mail that is sent again has the id of the first.
const keyOf = ({ id, at }: OutboxEntry) => `${id} ${at}`;

async function readOutbox(session: Session): Promise<OutboxEntry[]> {
  const reply = await session.call({ method: 'GET', path: '/api/v1/demo/outbox' });
  return (reply as { entries: OutboxEntry[] }).entries;
}

function describe({ kind, at, to, subject, text }: OutboxEntry): string[] {
  const about = subject === null ? '' : `: ${subject}`;
  const lines = text.trimEnd().split('\n');
  return [
    `${formatLocalTime(Date.parse(at))}  ${kind} to ${to}${about}`,
    ...lines.map((line) => `    ${line}`),
    '',
  ].map((line) => escapeUntrusted(line, 10_000));
}
