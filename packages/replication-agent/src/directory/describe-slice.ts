import type { AuditEvent } from '@countersign/database';
import type { PlannedChange } from './plan-slice.ts';

type Fields = Pick<AuditEvent, 'type'> & Partial<AuditEvent>;

const TOLD = new Map<string, string>([
  ['disabled', 'directory.disabled'],
  ['removed', 'directory.removed'],
  ['kept', 'directory.kept'],
]);

/** The events of changes that are sent together; of personal data they have the usernames alone. */
export function describeSlice(directory: string, changes: readonly PlannedChange[]): Fields[] {
  const userIds = changes.map(({ before, after }) => (after ?? before)!.id);
  const counts: Record<string, number> = {};
  for (const { effect } of changes) counts[effect] = (counts[effect] ?? 0) + 1;
  const welcome = changes
    .filter(({ effect, item }) => effect === 'added' && item?.mailOnImport)
    .map(({ after }) => after!.id);
  return [
    { type: 'directory.synced', details: { directory, ...counts, userIds } },
    ...(welcome.length > 0
      ? [{ type: 'directory.welcome', details: { directory, userIds: welcome } }]
      : []),
    ...changes.flatMap((change) => describeUser(directory, change)),
  ];
}

function describeUser(directory: string, change: PlannedChange): Fields[] {
  const { before, after, effect, risk, item } = change;
  const type = risk === 'phone' ? 'directory.phone_changed' : TOLD.get(effect);
  if (type === undefined || !before) return [];
  const { id: userId, username } = before;
  const isGone = after?.directory?.goneAt !== undefined;
  const why = isGone
    ? 'in no sync item any more, or gone'
    : 'disabled in the directory or its item';
  const details = { directory, item: item?.name ?? null };
  if (type !== 'directory.phone_changed') return [{ type, userId, username, reason: why, details }];
  return [{ type, userId, username, details: { ...details, ...changedPhone(change) } }];
}

/** Of a number only its end is told. */
function changedPhone({ before, after }: PlannedChange): {
  authenticator?: string;
  ending?: string;
} {
  const numbers = new Map(
    before!.authenticators.flatMap((one) => (one.type === 'phone' ? [[one.id, one.number]] : [])),
  );
  for (const one of after!.authenticators) {
    if (one.type !== 'phone' || numbers.get(one.id) === one.number) continue;
    return { authenticator: one.id, ending: one.number.slice(-2) };
  }
  return {};
}
