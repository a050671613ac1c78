import { setTimeout as sleep } from 'node:timers/promises';
import { askAgent, type Membership, type NatsLink, type Sealer } from '@countersign/cluster';
import { holdCircuitOpen, readCircuit, type Database } from '@countersign/database';
import { HOLD_MS, OPEN_WRITES_MS } from './move-log.ts';

const ASK_MS = 1000;

/**
 * While the log is made anew everybody verifies without it: what is accepted meanwhile is claimed, and merged into the
 * new one. Nodes that do not answer are left as they are.
 */
export async function holdCircuits(
  options: { node: string; db: Database; link: NatsLink; sealer: Sealer; membership: Membership },
  why: string,
): Promise<void> {
  const { node, db, membership } = options;
  const held = (await readCircuit(db)).heldUntil;
  // It was moved here, and they all know.
  if (held && held.getTime() > Date.now()) return;
  const others = membership.online().filter((seen) => seen.node !== node);
  await Promise.all([
    holdCircuitOpen(db, why, HOLD_MS),
    ...others.map((other) => askAgent(options, other.node, 'hold', {}, ASK_MS)),
  ]);
  await sleep(OPEN_WRITES_MS);
}
