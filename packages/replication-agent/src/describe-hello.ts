import type { Hello, LogLayout, Membership } from '@countersign/cluster';
import { listNodes, readApplied, type Applied, type Database } from '@countersign/database';
import type { StatesProbe } from './states-probe.ts';
import type { StoreMarks } from './store-marks.ts';

/** What a node of whatever log is told that asks who is here. */
export async function describeHello(options: {
  node: string;
  db: Database;
  layout: LogLayout;
  known: { highestNumber: number; storeMarks: StoreMarks };
  membership: Membership;
  probe: StatesProbe;
}): Promise<Hello> {
  const { node, db, layout, known, membership, probe } = options;
  const applied = await readApplied(db).catch(() => null);
  const nodes = await listNodes(db).catch(() => []);
  return {
    node,
    layout,
    place: applied && applied.revision > 0 ? placeOf(applied) : null,
    highestNumber: known.highestNumber,
    storeMarks: known.storeMarks.heard(layout.tag),
    master: membership.master()?.node ?? null,
    isLogWritable: probe.wasAnsweredLately,
    knownNodes: nodes.map(({ name }) => name),
  };
}

function placeOf(applied: Applied): Hello['place'] {
  const { incarnation, revision, epoch } = applied;
  return { incarnation, revision, epoch };
}
