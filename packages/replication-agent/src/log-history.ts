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
 * `epochs` are the replica's complete epochs, oldest first. Throws when the log does not answer.
 */
export async function findDivergence(options: {
  link: NatsLink;
  incarnation: Incarnation;
  place: { revision: number };
  epochs: { epoch: number; firstRevision: number }[];
}): Promise<number | null> {
  const { link, incarnation, place, epochs } = options;
  const names = namesOf(incarnation.number);
  const readMark = (subject: string) => readEpochMark(link, names.changes, subject);
  const newest = await readMark(names.epochs);
  if (!newest) return null;

  // Both wrote the same up to the end of the newest epoch they share, or to the beginning of what came next.
  let common = incarnation.baseEpoch;
  let mineNext = Infinity;
  for (const mine of epochs.toReversed().slice(0, MAX_LOOKED_UP)) {
    const theirs = await readMark(names.change('epoch', String(mine.epoch)));
    if (theirs && firstRevisionOf(theirs) === mine.firstRevision) {
      common = mine.epoch;
      break;
    }
    mineNext = mine.firstRevision;
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

function firstRevisionOf(mark: EpochMark): number {
  return mark.revision - mark.index + 1;
}

/** The newest complete epoch of a subject. */
async function readEpochMark(
  link: NatsLink,
  stream: string,
  subject: string,
): Promise<EpochMark | null> {
  const read = await readLast(link, stream, subject, TIMEOUT_MS);
  if (read.kind === 'silent') throw new Error(`the log does not answer: ${read.why}`);
  return read.kind === 'found' ? decodeEpochMark(read.message.data) : null;
}
