import { findAdministrators, UNKNOWN_ADMINISTRATOR } from '@countersign/operations';
import { z } from 'zod';
import { changeOf, refuseLastOwner, refuseOverreach } from './administrator-rules.ts';
import type { Plan, PlanContext } from './plan.ts';

export const removeAdministratorArgs = z.strictObject({ username: z.string() });

/** The tombstone is for good: whoever is added under the name later is somebody else. */
export async function removeAdministrator(
  context: PlanContext,
  { username }: z.output<typeof removeAdministratorArgs>,
): Promise<Plan> {
  const { named, all } = await findAdministrators(context.db, username);
  if (!named) return UNKNOWN_ADMINISTRATOR;
  const refusal = refuseOverreach(context, { target: named }) ?? refuseLastOwner(all, named, null);
  if (refusal) return refusal;
  return {
    ...changeOf(named, { roles: named.roles }),
    document: { kind: 'administrator', id: named.id, removed: true, content: null },
  };
}
