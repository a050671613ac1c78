import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const removeAuthenticatorArgs = z.strictObject({ username: z.string(), id: z.string() });

export async function removeAuthenticator(
  context: PlanContext,
  args: z.output<typeof removeAuthenticatorArgs>,
): Promise<Plan> {
  const plan = await changeUser(context, args.username, (user) => {
    const kept = user.authenticators.filter((one) => one.id !== args.id);
    if (kept.length < user.authenticators.length) return { ...user, authenticators: kept };
    return refuse(404, 'unknown_authenticator', `${user.username} has no authenticator ${args.id}`);
  });
  if (plan.kind === 'change') plan.event.details = { authenticator: args.id };
  return plan;
}
