import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterView } from '@countersign/api';
import { escapeUntrusted } from '@countersign/verification';
import { UnansweredError } from './cli-error.ts';
import { describeStatus } from './describe-status.ts';
import { formatAgo, formatLocalTime } from './format-time.ts';
import { printJsonLine } from './print.ts';
import type { Session } from './session.ts';

const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';
const CLEAR_ALL = '\u001b[2J';

/**
 * The status again and again, also while nobody answers. A terminal is drawn over from its upper left
 * corner, so that nothing flickers; anything else gets a block each time, or with --json a line.
 */
export async function watchStatus(session: Session, everyMs: number): Promise<never> {
  const colour = process.stdout.isTTY && !process.env.NO_COLOR;
  if (process.stdout.isTTY && !session.json) process.stdout.write(CLEAR_ALL);
  let answeredAtMs: number | null = null;
  for (;;) {
    const nowMs = Date.now();
    try {
      const view = await session.call({ method: 'GET', path: '/api/v1/cluster' });
      answeredAtMs = Date.now();
      if (session.json) printJsonLine(view);
      else print(describeStatus(view as ClusterView, answeredAtMs, { colour }), nowMs);
    } catch (error) {
      if (!(error instanceof UnansweredError)) throw error;
      const why = escapeUntrusted(error.message, 2_000);
      if (session.json) printJsonLine({ at: new Date().toISOString(), error: error.message });
      else print(`${why}\n${describeLast(answeredAtMs)}; trying again\n`, nowMs);
    }
    await sleep(Math.max(0, nowMs + everyMs - Date.now()));
  }
}

function describeLast(answeredAtMs: number | null): string {
  if (answeredAtMs === null) return 'no answer yet';
  return `last answer ${formatAgo(answeredAtMs, Date.now())}`;
}

function print(text: string, nowMs: number): void {
  const lines = [formatLocalTime(nowMs), ...text.trimEnd().split('\n')];
  if (!process.stdout.isTTY) {
    process.stdout.write(`${lines.join('\n')}\n\n`);
    return;
  }
  process.stdout.write(drawOver(lines, process.stdout.rows));
}

/** What draws these lines over what stands on a terminal of so many rows; what does not fit is counted. */
export function drawOver(lines: string[], rows: number): string {
  const room = Math.max(2, rows - 1);
  const shown = lines.length <= room ? lines : lines.slice(0, room - 1);
  const rest = lines.length - shown.length;
  const all = rest === 0 ? shown : [...shown, `… ${rest} more lines`];
  return HOME + all.map((line) => `${line}${CLEAR_LINE}\n`).join('') + CLEAR_BELOW;
}
