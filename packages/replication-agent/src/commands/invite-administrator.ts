import { findAdministrators, UNKNOWN_ADMINISTRATOR } from '@countersign/operations';
import { z } from 'zod';
import { changeOf, invitationOf, refuseOverreach } from './administrator-rules.ts';
import type { Plan, PlanContext } from './plan.ts';

export const inviteAdministratorArgs = z.strictObject({ username: z.string() });

/**
 * A new invitation in place of any other. Password and authenticator, if there are any, stay good until it is accepted;
 * sessions end then.
 */
export async function inviteAdministrator(
  context: PlanContext,
  { username }: z.output<typeof inviteAdministratorArgs>,
): Promise<Plan> {
  const { named } = await findAdministrators(context.db, username);
  if (!named) return UNKNOWN_ADMINISTRATOR;
  const overreach = refuseOverreach(context, { target: named });
  if (overreach) return overreach;
  const updatedAt = context.now.toISOString();
  return changeOf({ ...named, invitation: invitationOf(context), updatedAt }, {});
}
