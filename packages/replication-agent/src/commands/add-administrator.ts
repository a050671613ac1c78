import { findAdministrators } from '@countersign/operations';
import { ADMINISTRATORS_MAX, ROLES, type AdministratorDocument } from '@countersign/verification';
import { z } from 'zod';
import { changeOf, invitationOf, refuseOverreach } from './administrator-rules.ts';
import { deriveId } from './derive-id.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const administratorRoles = z.array(z.enum(ROLES)).min(1).max(ROLES.length);

export const addAdministratorArgs = z.strictObject({
  username: z.string(),
  displayName: z.string().nullish(),
  mail: z.string().nullish(),
  roles: administratorRoles,
});

/** With an invitation: whoever is added sets password and authenticator, and nobody else ever knows them. */
export async function addAdministrator(
  context: PlanContext,
  { username, displayName, mail, roles }: z.output<typeof addAdministratorArgs>,
): Promise<Plan> {
  const { named, all } = await findAdministrators(context.db, username);
  if (named) {
    return refuse(409, 'username_taken', `an administrator called ${username} exists already`);
  }
  const overreach = refuseOverreach(context, { target: null, granted: roles });
  if (overreach) return overreach;
  if (all.length >= ADMINISTRATORS_MAX) {
    return refuse(409, 'too_many_administrators', `there are ${ADMINISTRATORS_MAX}: remove some`);
  }
  return changeOf(newAdministrator(context, { username, displayName, mail, roles }), { roles });
}

/** For a name that nobody has. */
export function newAdministrator(
  context: Pick<PlanContext, 'keys' | 'commandId' | 'actor' | 'now'>,
  { username, displayName, mail, roles }: z.output<typeof addAdministratorArgs>,
): AdministratorDocument {
  const at = context.now.toISOString();
  return {
    id: deriveId(context.commandId, 'administrator'),
    username,
    ...(displayName && { displayName }),
    ...(mail && { mail }),
    roles: [...new Set(roles)],
    disabled: false,
    invitation: invitationOf(context),
    unlockedAt: null,
    createdAt: at,
    updatedAt: at,
  };
}
