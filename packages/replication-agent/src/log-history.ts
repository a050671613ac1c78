import {
  decodeEpochMark,
  namesOf,
  readLast,
  type EpochMark,
  type Incarnation,
  type NatsLink,
} from '@countersign/cluster';

const TIMEOUT_MS = 2000;
/** Epochs of this node that are looked up before it is filled anew instead. */
const MAX_LOOKED_UP = 200;

/**
 * The first revision that a replica at `place` has from another history than the log's; null where it has none.
 * `marks` are the last of each epoch that the replica has. Throws when the log does not answer.
 */
export async function findDivergence(options: {
  link: NatsLink;
  incarnation: Incarnation;
  place: { revision: number };
  marks: EpochMark[];
}): Promise<number | null> {
  const { link, incarnation, place } = options;
  const names = namesOf(incarnation.number);
  const readMark = (subject: string) => readEpochMark(link, names.changes, subject);
  const newest = await readMark(names.epochs);
  if (!newest) return null;

  // Both wrote the same up to the end of the newest epoch they share, or to the beginning of what came next.
  let common = incarnation.baseEpoch;
  let mineNext = Infinity;
  const newestFirst = options.marks.toSorted((a, b) => b.epoch - a.epoch);
  for (const mine of newestFirst.slice(0, MAX_LOOKED_UP)) {
    const theirs = await readMark(names.change('epoch', String(mine.epoch)));
    if (theirs && isSameEpoch(theirs, mine)) {
      common = mine.epoch;
      break;
    }
    mineNext = firstRevisionOf(mine);
  }
  let theirsNext = Infinity;
  for (let epoch = common + 1; epoch <= newest.epoch; epoch += 1) {
    const theirs = await readMark(names.change('epoch', String(epoch)));
    if (!theirs) continue;
    theirsNext = firstRevisionOf(theirs);
    break;
  }
  // An epoch of the log's that begins behind this replica is only news; one of its own behind the log's end means
  // that the log lost it.
  if (theirsNext > place.revision) return null;
  return Math.min(theirsNext, mineNext);
}

/** One that was lost may have been written again under the same number, even at the same place, by another process. */
function isSameEpoch(theirs: EpochMark, mine: EpochMark): boolean {
  return firstRevisionOf(theirs) === firstRevisionOf(mine) && theirs.instance === mine.instance;
}

/** The same for each message of a barrier, also where some are missing: it stands where it was meant to, or nowhere. */
function firstRevisionOf(mark: EpochMark): number {
  return mark.revision - mark.index + 1;
}

/** The last message of the newest epoch of a subject. */
async function readEpochMark(
  link: NatsLink,
  stream: string,
  subject: string,
): Promise<EpochMark | null> {
  const read = await readLast(link, stream, subject, TIMEOUT_MS);
  if (read.kind === 'silent') throw new Error(`the log does not answer: ${read.why}`);
  return read.kind === 'found' ? decodeEpochMark(read.message.data) : null;
}
