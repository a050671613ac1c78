import type { UserDocument } from '@countersign/verification';
import { hasAnotherPhone } from './merge-phones.ts';
import type { Risk } from './safeguard.ts';

/** What the change of a user comes to, in one word for counts and reports. */
export type Effect = 'added' | 'changed' | 'disabled' | 'removed' | 'kept' | 'none';

export function effectOf(before: UserDocument | null, after: UserDocument): Effect {
  if (before === after) return 'none';
  if (!before) return 'added';
  if (!before.removedAt && after.removedAt) return 'removed';
  if (before.enabled && !after.enabled) return 'disabled';
  if (!before.directory?.goneAt && after.directory?.goneAt) return 'kept';
  return 'changed';
}

/** What an administrator may have to approve of a change; null: nothing. The gravest goes first. */
export function riskOf(before: UserDocument | null, after: UserDocument): Risk | null {
  if (!before || before.removedAt) return null;
  const effect = effectOf(before, after);
  if (effect === 'removed') return 'remove';
  if (effect === 'disabled') return 'disable';
  return hasAnotherPhone(before, after) ? 'phone' : null;
}
