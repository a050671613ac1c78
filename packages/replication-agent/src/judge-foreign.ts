import { isInHistoryOf, type Hello, type LogLayout } from '@countersign/cluster';

export type OwnPlace = {
  layout: LogLayout;
  /** Null while its tables are empty. */
  place: Hello['place'];
  /** Its log has taken writes lately. */
  isLogAlive: boolean;
};

export type ForeignVerdict =
  /** Nothing is lost by living there. */
  | { kind: 'follow'; hello: Hello }
  /** Each knows what the other does not, or both take writes: people decide. */
  | { kind: 'conflict'; hello: Hello }
  | { kind: 'ignore' };

/** What to make of a node that lives in another log than this one. */
export function judgeForeign(own: OwnPlace, hello: Hello): ForeignVerdict {
  if (hello.layout.tag === own.layout.tag || !hello.place) return { kind: 'ignore' };
  if (!own.place) return { kind: 'follow', hello };
  const mine = { incarnationId: own.place.incarnation.id, revision: own.place.revision };
  const isKnownThere = isInHistoryOf(hello.place.incarnation, mine);
  const theirs = { incarnationId: hello.place.incarnation.id, revision: hello.place.revision };
  const isSame = theirs.incarnationId === mine.incarnationId;
  // That log was closed for this one, and stands there still: whoever is left there comes here.
  const wasLeft = own.layout.after === hello.layout.tag;
  if (wasLeft && isSame && theirs.revision <= mine.revision) return { kind: 'ignore' };
  if (isKnownThere && !own.isLogAlive) {
    // This log was closed for that one, which may wait for this node's server.
    const isNext = hello.layout.after === own.layout.tag;
    const waitsForThis = isNext && (!isSame || theirs.revision >= mine.revision);
    return hello.isLogWritable || waitsForThis ? { kind: 'follow', hello } : { kind: 'ignore' };
  }
  const isKnownHere = isInHistoryOf(own.place.incarnation, theirs);
  // It will follow by itself, or is told the same as this node would be.
  if (isKnownHere && !hello.isLogWritable) return { kind: 'ignore' };
  return { kind: 'conflict', hello };
}

/** One line for `status`. */
export function describeConflict(own: OwnPlace, hello: Hello): string {
  const there = hello.place!;
  const here = own.place!;
  return (
    `${hello.node} lives in another log: incarnation ${there.incarnation.number} ` +
    `(${there.incarnation.id.slice(0, 8)}) at revision ${there.revision}, this one is ` +
    `${here.incarnation.number} (${here.incarnation.id.slice(0, 8)}) at ${here.revision}; ` +
    `decide which is right, then type on the nodes of the other: countersign rejoin`
  );
}
