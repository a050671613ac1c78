import { readSettings } from '@countersign/database';
import { z } from 'zod';
import { clientNamed } from './find-radius.ts';
import type { Plan, PlanContext } from './plan.ts';

export const removeRadiusClientArgs = z.strictObject({ name: z.string().max(64) });

export async function removeRadiusClient(
  context: PlanContext,
  { name: given }: z.output<typeof removeRadiusClientArgs>,
): Promise<Plan> {
  const client = clientNamed(await readSettings(context.db), given);
  if ('kind' in client) return client;
  const { id, name } = client;
  return {
    kind: 'change',
    document: { kind: 'radius-client', id, removed: true, content: null },
    result: { id },
    event: { userId: null, username: null, details: { radiusClient: name } },
  };
}
