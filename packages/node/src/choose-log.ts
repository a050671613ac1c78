import type { WitnessWord } from '@countersign/cluster';

import { noteMove, type NotedLayout } from './layout-file.ts';

/** Where a node said that the log is. */
export type Told = Pick<WitnessWord, 'node' | 'layout' | 'incarnation' | 'left' | 'storeMark'> & {
  /** Monotonic ms. */
  at: number;
};

/** A log of which nobody has said anything for so long is left for one that nodes have gone on to. */
export const SILENT_MS = 10_000;

/**
 * The log that a witness should go on in; null: it stays. Its vote keeps a log alive, so it leaves one only when that
 * was closed for the other, or when no node says any more that it lives there while one has left it for good, or has
 * a later incarnation. It never goes back to a set of servers that it has left: its store there is gone, and a server
 * that forgot what it agreed to must not vote.
 */
export function chooseLog(
  own: NotedLayout,
  told: readonly Told[],
  about: { startedAt: number; now: number },
): Told | null {
  const { tag } = own.layout;
  const fresh = told.filter(({ at }) => about.now - at < SILENT_MS);
  const others = fresh
    .filter(({ layout }) => layout.tag !== tag && !own.leftTags.includes(layout.tag))
    .toSorted((a, b) => b.incarnation - a.incarnation);
  const successor = others.find(({ layout }) => layout.after === tag);
  if (successor) return successor;
  const isSpokenFor = fresh.some(({ layout }) => layout.tag === tag);
  if (isSpokenFor || about.now - about.startedAt < SILENT_MS) return null;
  const known = own.incarnation ?? 0;
  return others.find(({ left, incarnation }) => left.includes(tag) || incarnation > known) ?? null;
}

/**
 * What to note when a witness goes on there. Where nodes have heard of a store of its own in that set already, and it is
 * not there, the whole machine is an older copy: it must not vote in the place of what is gone.
 */
export function joinLog(
  own: NotedLayout,
  { layout, incarnation, storeMark }: Told,
  about: { name: string; hasStore: boolean },
): NotedLayout & { isOlderCopy: boolean } {
  const moved = { ...noteMove(own, layout, about.name), incarnation };
  const isOlderCopy = moved.runsLogServer && storeMark > 0 && !about.hasStore;
  if (!isOlderCopy) return { ...moved, isOlderCopy };
  const leftTags = [...moved.leftTags, layout.tag];
  return { ...moved, runsLogServer: false, leftTags, isOlderCopy };
}
