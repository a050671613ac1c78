import { setTimeout as sleep } from 'node:timers/promises';
import {
  askAgent,
  type Lease,
  type Log,
  type MasterReply,
  type Membership,
  type NatsLink,
  type Sealer,
} from '@countersign/cluster';
import { BEHIND } from './command-runner.ts';
import type { AgentEvents } from './events.ts';
import type { Mastership } from './mastership.ts';
import type { Replica } from './replica.ts';

export type HandOverOptions = {
  node: string;
  link: NatsLink;
  sealer: Sealer;
  membership: Membership;
  lease: Lease;
  mastership: Mastership;
  replica: Replica;
  events: AgentEvents;
  log: Log;
};

const TARGET_APPLIES_MS = 1200;
const CLAIM_MS = 3000;
const CLEAR_AFTER_MS = 300;

/**
 * Planned: stop taking writes, let the target apply everything, offer it the lease, wait until it takes commands.
 * Callers hold their writes meanwhile; if the target does not come, this node goes on as the next epoch.
 */
export async function handOver(
  options: HandOverOptions,
  target: string,
  by: string,
): Promise<MasterReply> {
  const { mastership, membership, lease, replica, log } = options;
  const refusal = refuseTarget(options, target);
  if (refusal) return refusal;
  // An earlier one may have ended a moment ago.
  if (mastership.isHandingOver) await sleep(CLEAR_AFTER_MS);
  if (mastership.isHandingOver) return ALREADY;
  if (!mastership.isActive) return { kind: 'not_master' };
  mastership.isHandingOver = true;
  try {
    // In turn: every write accepted before is done, every later one is told to wait.
    const reply = await mastership.inTurn<MasterReply>(async () => {
      const { revision } = replica.applied;
      const ready = await askAgent(options, target, 'applied', { revision }, TARGET_APPLIES_MS);
      if (!ready?.ok) {
        const detail = `${target} has not applied revision ${revision} in time; nothing was changed`;
        return { kind: 'refused', status: 409, code: 'target_behind', detail };
      }
      if (!(await lease.offerTo(target))) return { kind: 'unknown' };
      log.info({ target, revision }, 'lease offered');
      const claimed = await askAgent(options, target, 'claim', {}, CLAIM_MS);
      await membership.waitUntil(() => membership.master()?.node === target, claimed?.ok ? 500 : 0);
      if (!claimed?.ok) return { kind: 'unknown' };
      options.events.handedOver({ to: target, by });
      return { kind: 'done', revision: claimed.revision ?? revision, result: { master: target } };
    });
    return reply ?? BEHIND;
  } finally {
    // Whether the target came or not, nobody should wait for it much longer; its own word travels another way.
    setTimeout(() => {
      mastership.isHandingOver = false;
    }, CLEAR_AFTER_MS).unref();
  }
}

/** The most caught-up node that may take over; null when there is none. */
export function bestTarget(options: { node: string; membership: Membership }): string | null {
  const candidates = options.membership
    .online()
    .filter((node) => node.node !== options.node && node.isPromotable && !node.damage)
    .toSorted(
      (a, b) =>
        a.problems.length - b.problems.length ||
        b.revision - a.revision ||
        a.node.localeCompare(b.node),
    );
  return candidates[0]?.node ?? null;
}

const ALREADY: MasterReply = {
  kind: 'refused',
  status: 409,
  code: 'busy',
  detail: 'another hand-over, or a move of the log, is under way; try again in a moment',
};

function refuseTarget(options: HandOverOptions, target: string): MasterReply | null {
  const seen = options.membership.find(target);
  const refuse = (status: number, code: string, detail: string): MasterReply => ({
    kind: 'refused',
    status,
    code,
    detail,
  });
  if (!seen) return refuse(404, 'unknown_node', `no node is called ${target}`);
  if (!options.membership.online().some((node) => node.node === target)) {
    return refuse(409, 'node_offline', `${target} was last heard at ${seen.seenAtWall}`);
  }
  if (!seen.isPromotable) {
    return refuse(409, 'not_promotable', `${target} is configured with promotable: false`);
  }
  if (seen.damage) {
    const detail = `${target}'s tables do not match its digest: ${seen.damage}`;
    return refuse(409, 'not_fit', detail);
  }
  return null;
}
