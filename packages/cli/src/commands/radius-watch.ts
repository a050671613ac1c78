import { setTimeout as sleep } from 'node:timers/promises';
import type { RadiusSeen, RadiusWatchLine } from '@countersign/api';
import { escapeUntrusted } from '@countersign/verification';
import type { Command } from 'commander';
import { UnansweredError } from '../cli-error.ts';
import { escapeAll } from '../escape-all.ts';
import { formatLocalTime } from '../format-time.ts';
import { openNodeSession, type NodeSession } from '../node-session.ts';
import { printJsonLine, printLines } from '../print.ts';
import { formatRow } from '../table.ts';
import { untilInterrupted } from '../until-interrupted.ts';

type WatchOptions = { client?: string; attributes?: true; node?: string };

const PATH = '/api/v1/radius/watch';
const AGAIN_MS = 1000;
const HEADINGS = ['TIME', 'FROM', 'CLIENT', 'USER', 'PACKET', 'VERDICT', 'MS', 'WHY'];
const WIDTHS = [19, 21, 12, 20, 19, 9, 4];

const HELP = `
One line for each packet when it is known what became of it. Passwords, codes and State are never
shown; neither are names that are nobody's, unless events.hashUnknownNames is off: they look as they
do in the events.`;

export function addRadiusWatchCommand(radius: Command): void {
  radius
    .command('watch')
    .description(
      "what arrives at a node's RADIUS ports, from whom, the verdict and why, until Ctrl-C",
    )
    .option('--client <name>', 'only what comes from this client')
    .option('--attributes', 'what the packets hold, too')
    .option('--node <name>', 'which node; default: the first that answers')
    .addHelpText('after', HELP)
    .action(async (options: WatchOptions, command: Command) => {
      const session = await openNodeSession(command, options.node);
      await untilInterrupted(() => watch(session, options));
    });
}

/** What is seen while the node is away is missed: it says so when it is back. */
async function watch(session: NodeSession, options: WatchOptions): Promise<never> {
  if (!session.json) printLines([formatRow(HEADINGS, WIDTHS)]);
  let silence: string | null = null;
  for (;;) {
    let why = 'the node ended it';
    try {
      await session.stream({ path: PATH, query: { client: options.client } }, (line) => {
        silence = null;
        print(line as RadiusWatchLine, session, options);
      });
    } catch (error) {
      if (!(error instanceof UnansweredError)) throw error;
      why = error.message;
    }
    if (silence !== why) tell(`${why}; trying again`);
    silence = why;
    await sleep(AGAIN_MS);
  }
}

function print(line: RadiusWatchLine, { json }: NodeSession, options: WatchOptions): void {
  if (line.kind === 'quiet') return;
  if (line.kind === 'watching') {
    const { node, workers, silent } = line;
    tell(`watching ${node} with ${workers} ${workers === 1 ? 'worker' : 'workers'}, until Ctrl-C`);
    for (const worker of silent) tell(`worker ${worker} is not heard: its packets are missed`);
  }
  if (json) return printJsonLine(line);
  if (line.kind === 'lost') printLines([`(${line.count} more, which were not read fast enough)`]);
  if (line.kind === 'seen') printLines(describeSeen(escapeAll(line), options));
}

function describeSeen(seen: RadiusSeen, options: WatchOptions): string[] {
  const { at, from, client, testBy, packet, protocol, user, verdict, tookMs, why } = seen;
  const who = client ?? '-';
  const row = formatRow(
    [
      formatLocalTime(Date.parse(at)),
      from,
      who,
      user ?? '-',
      [packet, protocol].filter((each) => each !== null).join(' ') || '-',
      verdict,
      tookMs === null ? '-' : String(tookMs),
      [why, testBy && `test by ${testBy}`].filter(Boolean).join(', '),
    ],
    WIDTHS,
  );
  if (!options.attributes) return [row];
  const { attributes } = seen;
  if (attributes === null) return packet === null ? [row] : [row, '    (too long to show)'];
  return [row, ...attributes.map(({ name, value }) => `    ${name} = ${value}`)];
}

function tell(note: string): void {
  process.stderr.write(`countersign: ${escapeUntrusted(note, 2_000)}\n`);
}
