import type { ClusterKeys } from '@countersign/api';
import { formatAgo, formatLocalTime } from './format-time.ts';
import { formatTable } from './table.ts';

type Rotation = NonNullable<ClusterKeys['rotation']>;

/** Made before a cluster noted when. */
const UNKNOWN_MS = 0;

/** The text of `countersign keys show`. Pure; the text of others in it is escaped already. */
export function describeKeys(
  { active, generations, rotation }: ClusterKeys,
  nowMs: number,
): string {
  const rows = generations.map(({ id, madeAt, nodes }) => [
    id,
    describeState(id, { active, rotation }),
    describeAge(Date.parse(madeAt), nowMs),
    nodes.join(', '),
  ]);
  const lines = formatTable(['GENERATION', 'STATE', 'MADE', 'ON'], rows);
  const next = rotation ? describeRotation(rotation) : 'everything is sealed under it';
  return `${[...lines, '', next].join('\n')}\n`;
}

/** How far a change of the cluster's key is, and what it waits for. */
export function describeRotation(rotation: Rotation): string {
  const { from, to, reason, activatedAt, waitsFor, seen, of, isClean, retiresAt } = rotation;
  const begun = `${to} takes the place of ${from} (${reason})`;
  const late = waitsFor.join(', ');
  if (activatedAt === null) {
    return late === ''
      ? `${begun}: every node has it`
      : `${begun}: waits for ${late} to have it; start them, or remove who is gone for good`;
  }
  if (!isClean) return `${begun}: sealing anew, ${seen} of ${of} documents looked at`;
  const retires = `${from} goes at ${formatLocalTime(Date.parse(retiresAt!))}`;
  return late === ''
    ? `${begun}: nothing is left under ${from}, ${retires}`
    : `${begun}: nothing is left under ${from}, which goes when ${late} has followed`;
}

function describeState(id: string, { active, rotation }: Omit<ClusterKeys, 'generations'>): string {
  if (id === active) return 'active';
  return rotation?.to === id ? 'next' : 'opens only';
}

function describeAge(madeAtMs: number, nowMs: number): string {
  return madeAtMs === UNKNOWN_MS ? 'not noted' : formatAgo(madeAtMs, nowMs);
}
