import { readSettings } from '@countersign/database';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { deriveId } from './derive-id.ts';
import type { Plan, PlanContext } from './plan.ts';

export const bypassUserArgs = z.strictObject({
  username: z.string(),
  reason: z.string(),
  seconds: z.number().int().min(10).max(86_400).nullish(),
});

/** Grants one verification without anything to show, in place of any earlier grant. */
export async function bypassUser(
  context: PlanContext,
  args: z.output<typeof bypassUserArgs>,
): Promise<Plan> {
  const { settings } = await readSettings(context.db);
  const seconds = args.seconds ?? settings.bypass.seconds;
  const bypass = {
    // Spent by its id: another grant is another one.
    id: deriveId(context.commandId, 'bypass'),
    reason: args.reason,
    at: context.now.toISOString(),
    by: context.actor,
    expiresAt: new Date(context.now.getTime() + seconds * 1000).toISOString(),
  };
  const plan = await changeUser(context, args.username, (user) => ({ ...user, bypass }));
  if (plan.kind === 'change') plan.event.details = { reason: args.reason, seconds };
  return plan;
}

export const endBypassArgs = z.strictObject({ username: z.string() });

export async function endBypass(
  context: PlanContext,
  { username }: z.output<typeof endBypassArgs>,
): Promise<Plan> {
  return changeUser(context, username, ({ bypass: _ended, ...user }) => user);
}
