import {
  moveLeadersAway,
  namesOf,
  untilOthersAreCurrent,
  type NatsLink,
} from '@countersign/cluster';
import type { Logger } from 'pino';

const OTHERS_CURRENT_MS = 4000;
const LEADERS_AWAY_MS = 2000;

/** What must come before the end of a node's own log server, so that nobody has to wait for an election. */
export function leaveLog(options: {
  node: string;
  link: NatsLink;
  incarnationNumber: number;
  log: Logger;
}) {
  const { node, link, log } = options;
  const { changes, states, lease, events } = namesOf(options.incarnationNumber);
  const leaving = { link, node, streams: [changes, states, lease, events] };
  return {
    /** First, while this node still does everything. */
    async untilOthersAreCurrent(): Promise<void> {
      if (await untilOthersAreCurrent({ ...leaving, timeoutMs: OTHERS_CURRENT_MS })) return;
      log.warn({ waitedMs: OTHERS_CURRENT_MS }, 'another log server is not up to date, stopping');
    },
    /** Last, when this node is not master any more. */
    async moveLeadersAway(): Promise<void> {
      if (await moveLeadersAway({ ...leaving, timeoutMs: LEADERS_AWAY_MS })) return;
      log.warn({ waitedMs: LEADERS_AWAY_MS }, 'no other log server leads in its place, stopping');
    },
  };
}
