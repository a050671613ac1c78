import { isDeepStrictEqual } from 'node:util';
import { findAdministrators, UNKNOWN_ADMINISTRATOR } from '@countersign/operations';
import type { AdministratorDocument } from '@countersign/verification';
import { z } from 'zod';
import { administratorRoles } from './add-administrator.ts';
import { changeOf, refuseLastOwner, refuseOverreach } from './administrator-rules.ts';
import type { Plan, PlanContext } from './plan.ts';

export const setAdministratorArgs = z.strictObject({
  username: z.string(),
  changes: z.strictObject({
    displayName: z.string().nullish(),
    mail: z.string().nullish(),
    roles: administratorRoles.optional(),
    disabled: z.boolean().optional(),
    /** Voids lockouts and failures so far. */
    unlock: z.literal(true).optional(),
  }),
});

export async function setAdministrator(
  context: PlanContext,
  { username, changes }: z.output<typeof setAdministratorArgs>,
): Promise<Plan> {
  const { named: before, all } = await findAdministrators(context.db, username);
  if (!before) return UNKNOWN_ADMINISTRATOR;
  const { roles, disabled, unlock, displayName, mail } = changes;
  const at = context.now.toISOString();
  const granted = roles && [...new Set(roles)];
  const overreach = refuseOverreach(context, { target: before, granted: granted ?? [] });
  if (overreach) return overreach;
  const edited: AdministratorDocument = {
    ...before,
    ...(granted && { roles: granted }),
    ...(disabled !== undefined && { disabled }),
    // Who is let in again signs in again.
    ...(disabled && !before.disabled && { sessionsSince: at }),
    ...(unlock && { unlockedAt: at }),
    ...(displayName !== undefined && { displayName: displayName ?? undefined }),
    ...(mail !== undefined && { mail: mail ?? undefined }),
  };
  const after = JSON.parse(JSON.stringify(edited)) as AdministratorDocument;
  const last = refuseLastOwner(all, before, after);
  if (last) return last;
  if (isDeepStrictEqual(after, before)) return { kind: 'unchanged', result: { id: before.id } };
  return changeOf({ ...after, updatedAt: at }, changes);
}
