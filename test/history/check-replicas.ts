import { BARRIER_MESSAGES } from '@countersign/cluster';
import type { Contradiction } from './contradiction.ts';
import type { DumpedDocument, ReplicaDump } from './records.ts';

/** Promises 1 and 3: what the replicas say about the log they were made from. */
export function checkReplicas(replicas: readonly ReplicaDump[]): Contradiction[] {
  return [
    ...replicas.flatMap(checkDigest),
    ...replicas.flatMap(checkEpochs),
    ...checkOneChangeAtARevision(replicas),
    ...checkEqual(replicas),
  ];
}

function checkDigest(replica: ReplicaDump): Contradiction[] {
  const { node, revision, digest, recomputedDigest } = replica;
  if (digest === recomputedDigest) return [];
  const says = `the digest that ${node} keeps is not that of its documents`;
  return [{ rule: 3, says, records: [{ node, revision, digest, recomputedDigest }] }];
}

/** Barriers are whole and in order, and every change lies between the barrier of its epoch and the next one. */
function checkEpochs(replica: ReplicaDump): Contradiction[] {
  const { node } = replica;
  const epochs = replica.epochs.toSorted((a, b) => a.epoch - b.epoch);
  const found: Contradiction[] = [];
  const tell = (says: string, ...records: unknown[]) =>
    found.push({ rule: 1, says: `${says} (${node})`, records });
  for (const [i, epoch] of epochs.entries()) {
    const before = epochs[i - 1];
    if (before && epoch.firstRevision < before.firstRevision + BARRIER_MESSAGES) {
      const says = `epoch ${epoch.epoch} begins before the barrier of epoch ${before.epoch} has ended`;
      tell(says, before, epoch);
    }
  }
  for (const change of changesOf(replica)) {
    const { revision, epoch } = change;
    const own = epochs.find((one) => one.epoch === epoch);
    const newer = epochs.find((one) => one.epoch > epoch && one.firstRevision <= revision);
    if (newer) {
      const says = `the change at revision ${revision} was accepted from epoch ${epoch} when epoch ${newer.epoch} had begun`;
      tell(says, change, newer);
    } else if (!own) {
      tell(`the change at revision ${revision} is of epoch ${epoch}, which never began`, change);
    } else if (revision < own.firstRevision + BARRIER_MESSAGES) {
      const says = `the change at revision ${revision} is of epoch ${epoch} and stands before the end of its barrier`;
      tell(says, change, own);
    }
  }
  found.push(...checkEpochsGrow(replica));
  return found;
}

/** Needs no barrier to see a straggler: two changes whose epochs and revisions are in different orders. */
function checkEpochsGrow(replica: ReplicaDump): Contradiction[] {
  const found: Contradiction[] = [];
  let newest: DumpedDocument | null = null;
  for (const change of changesOf(replica).toSorted((a, b) => a.revision - b.revision)) {
    if (newest && change.epoch < newest.epoch) {
      const says = `epoch ${change.epoch} wrote at revision ${change.revision}, after epoch ${newest.epoch} at revision ${newest.revision} (${replica.node})`;
      found.push({ rule: 1, says, records: [newest, change] });
    } else newest = change;
  }
  return found;
}

function checkOneChangeAtARevision(replicas: readonly ReplicaDump[]): Contradiction[] {
  const found: Contradiction[] = [];
  const seen = new Map<number, DumpedDocument & { node: string }>();
  for (const { node, documents, revision: end } of replicas) {
    for (const document of documents) {
      const { revision } = document;
      const here = { node, ...document };
      const there = seen.get(revision);
      if (!there) seen.set(revision, here);
      else if (!isSame(there, document)) {
        const says = `two changes stand at revision ${revision}`;
        found.push({ rule: 1, says, records: [there, here] });
      }
      if (revision > end) {
        const says = `${node} stands at revision ${end} and holds a change of revision ${revision}`;
        found.push({ rule: 3, says, records: [here] });
      }
    }
  }
  return found;
}

/** Replicas at one revision hold the same documents and know the same epochs. */
function checkEqual(replicas: readonly ReplicaDump[]): Contradiction[] {
  const found: Contradiction[] = [];
  const whole = replicas.filter(({ revision, horizon }) => revision >= horizon);
  for (const [i, one] of whole.entries()) {
    for (const other of whole.slice(i + 1)) {
      if (one.incarnation !== other.incarnation) {
        const says = `${one.node} and ${other.node} live in different incarnations`;
        found.push({ rule: 3, says, records: [one, other].map(positionOf) });
      } else if (one.revision === other.revision) found.push(...compare(one, other));
    }
  }
  return found;
}

function compare(one: ReplicaDump, other: ReplicaDump): Contradiction[] {
  const there = new Map(other.documents.map((document) => [nameOf(document), document]));
  const here = new Map(one.documents.map((document) => [nameOf(document), document]));
  for (const name of new Set([...here.keys(), ...there.keys()])) {
    const [a, b] = [here.get(name), there.get(name)];
    if (a && b && isSame(a, b)) continue;
    const says = `at revision ${one.revision} ${one.node} and ${other.node} differ in ${name}`;
    const records = [
      { node: one.node, ...(a ?? { absent: name }) },
      { node: other.node, ...(b ?? { absent: name }) },
    ];
    return [{ rule: 3, says, records }];
  }
  if (one.digest === other.digest && String(epochsOf(one)) === String(epochsOf(other))) return [];
  const says = `at revision ${one.revision} ${one.node} and ${other.node} have the same documents and yet differ`;
  return [{ rule: 3, says, records: [one, other].map(positionOf) }];
}

/** What was written in this incarnation, barriers left out. */
function changesOf(replica: ReplicaDump): DumpedDocument[] {
  return replica.documents.filter(
    ({ kind, revision }) => kind !== 'epoch' && !wasCarriedOver(replica, revision),
  );
}

/** By a rebuild: that stands before the first barrier of the new incarnation. */
export function wasCarriedOver(replica: ReplicaDump, revision: number): boolean {
  if (replica.baseRevision === 0) return false;
  return replica.epochs.every(
    ({ firstRevision }) => firstRevision <= replica.baseRevision || revision < firstRevision,
  );
}

function epochsOf({ epochs }: ReplicaDump): string[] {
  return epochs.map(({ epoch, firstRevision }) => `${epoch} at ${firstRevision}`).toSorted();
}

function positionOf(replica: ReplicaDump) {
  const { node, incarnation, revision, digest } = replica;
  return { node, incarnation, revision, digest, epochs: epochsOf(replica) };
}

function nameOf({ kind, id }: DumpedDocument): string {
  return `${kind} ${id}`;
}

function isSame(a: DumpedDocument, b: DumpedDocument): boolean {
  return nameOf(a) === nameOf(b) && a.revision === b.revision && a.hash === b.hash;
}
