import { z } from 'zod';
import { applicationInUse, applicationOf, isRefused } from './find-application.ts';
import type { Plan, PlanContext } from './plan.ts';

export const removeApplicationArgs = z.strictObject({ name: z.string() });

export async function removeApplication(
  context: PlanContext,
  args: z.output<typeof removeApplicationArgs>,
): Promise<Plan> {
  const application = await applicationOf(context, args.name);
  if (isRefused(application)) return application;
  const { id, name } = application;
  const inUse = await applicationInUse(context, application);
  if (inUse) return inUse;
  return {
    kind: 'change',
    document: { kind: 'application', id, removed: true, content: null },
    result: { id },
    event: { userId: null, username: null, details: { application: name } },
  };
}
