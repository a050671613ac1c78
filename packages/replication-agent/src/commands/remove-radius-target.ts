import { readSettings } from '@countersign/database';
import { z } from 'zod';
import { clientsOf, targetNamed } from './find-radius.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const removeRadiusTargetArgs = z.strictObject({ name: z.string().max(64) });

/** Not while a client sends passwords there: its users could not sign in any more. */
export async function removeRadiusTarget(
  context: PlanContext,
  { name: given }: z.output<typeof removeRadiusTargetArgs>,
): Promise<Plan> {
  const all = await readSettings(context.db);
  const target = targetNamed(all, given);
  if ('kind' in target) return target;
  const { id, name } = target;
  const users = clientsOf(
    all,
    ({ firstFactor }) => firstFactor.kind === 'radius' && firstFactor.target === id,
  );
  if (users) return refuse(409, 'radius_target_in_use', `${name} is the first factor of ${users}`);
  return {
    kind: 'change',
    document: { kind: 'radius-target', id, removed: true, content: null },
    result: { id },
    event: { userId: null, username: null, details: { radiusTarget: name } },
  };
}
