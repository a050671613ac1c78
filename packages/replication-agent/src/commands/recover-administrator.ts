import { findAdministrators } from '@countersign/operations';
import { ADMINISTRATORS_MAX } from '@countersign/verification';
import { z } from 'zod';
import { newAdministrator } from './add-administrator.ts';
import { changeOf, invitationOf } from './administrator-rules.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const recoverAdministratorArgs = z.strictObject({ username: z.string() });

/**
 * Break-glass, over a node's own socket alone: whoever is called that is an owner who is invited, whatever they were
 * before. All administrators are told by mail.
 */
export async function recoverAdministrator(
  context: PlanContext,
  { username }: z.output<typeof recoverAdministratorArgs>,
): Promise<Plan> {
  const { named, all } = await findAdministrators(context.db, username);
  if (!named && all.length >= ADMINISTRATORS_MAX) {
    return refuse(409, 'too_many_administrators', `there are ${ADMINISTRATORS_MAX}: name one`);
  }
  const at = context.now.toISOString();
  const added = newAdministrator(context, { username, roles: ['owner'] });
  if (!named) return changeOf(added, { added: true });
  const roles = named.roles.includes('owner') ? named.roles : [...named.roles, 'owner' as const];
  const recovered = {
    ...named,
    roles,
    disabled: false,
    invitation: invitationOf(context),
    unlockedAt: at,
    updatedAt: at,
  };
  return changeOf(recovered, { added: false });
}
