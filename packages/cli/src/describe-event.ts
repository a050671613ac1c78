import type { StoredEvent } from '@countersign/api';
import { formatLocalTime } from './format-time.ts';

export const EVENT_HEADINGS = [
  'TIME',
  'EVENT',
  'USER',
  'RESULT',
  'BY',
  'APPLICATION',
  'CLIENT',
  'NODE',
  'MS',
];

/** Of a row that is printed before the next is known. */
export const EVENT_WIDTHS = [19, 20, 16, 24, 12, 12, 15, 8, 4];

/** One row under EVENT_HEADINGS. */
export function describeEvent(event: StoredEvent): string[] {
  const reason = event.reason === null ? '' : ` (${event.reason})`;
  const degraded = event.degraded ? ' degraded' : '';
  // A verdict told again is no second sign-in.
  const repeated = event.details['repeated'] === true ? ' repeated' : '';
  return [
    formatLocalTime(Date.parse(event.at)),
    event.type,
    event.user ?? '-',
    `${event.result ?? '-'}${reason}${degraded}${repeated}`,
    event.actor ?? '-',
    event.application ?? '-',
    event.clientAddress ?? '-',
    event.node,
    event.durationMs === null ? '-' : String(Math.round(event.durationMs)),
  ];
}
