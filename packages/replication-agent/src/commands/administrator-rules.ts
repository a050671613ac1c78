import { hashApiKey, LAST_OWNER, overreachOf } from '@countersign/operations';
import {
  INVITATION_HOURS,
  isLastOwner,
  type AdministratorDocument,
} from '@countersign/verification';
import { newInvitationCode } from '../new-secrets.ts';
import type { Plan, PlanContext, Refusal } from './plan.ts';

type Invitation = NonNullable<AdministratorDocument['invitation']>;

/** {@link overreachOf} of whoever asks for this command. */
export function refuseOverreach(
  { rights, administratorId }: Pick<PlanContext, 'rights' | 'administratorId'>,
  about: Parameters<typeof overreachOf>[1],
): Refusal | null {
  return overreachOf({ scopes: rights.scopes, administratorId }, about);
}

/** `after`: null: removed. */
export function refuseLastOwner(
  all: readonly AdministratorDocument[],
  before: AdministratorDocument,
  after: AdministratorDocument | null,
): Refusal | null {
  const staysOwner = after !== null && !after.disabled && after.roles.includes('owner');
  return !staysOwner && isLastOwner(all, before.id) ? LAST_OWNER : null;
}

/** The code itself is shown once, and follows from the command. */
export function invitationOf({
  keys,
  commandId,
  actor,
  now,
}: Pick<PlanContext, 'keys' | 'commandId' | 'actor' | 'now'>): Invitation {
  const at = now.toISOString();
  const code = newInvitationCode(keys['new-secret'], { commandId, at });
  return {
    codeHash: hashApiKey(code),
    at,
    by: actor,
    expiresAt: new Date(now.getTime() + INVITATION_HOURS * 3_600_000).toISOString(),
  };
}

/** The change of one administrator's document. */
export function changeOf(
  content: AdministratorDocument,
  details: Record<string, unknown>,
): Extract<Plan, { kind: 'change' }> {
  const { id, username } = content;
  return {
    kind: 'change',
    document: { kind: 'administrator', id, removed: false, content },
    result: { id, username },
    event: { userId: null, username: null, details: { administrator: username, ...details } },
  };
}
