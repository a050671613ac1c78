import { listApiKeys } from '@countersign/database';
import { LAST_FULL_KEY } from '@countersign/operations';
import { isLastFullKey } from '@countersign/verification';
import { z } from 'zod';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const revokeApiKeyArgs = z.strictObject({ id: z.string(), evenLast: z.boolean() });

/** The tombstone is for good: a key that was revoked never comes back. */
export async function revokeApiKey(
  context: PlanContext,
  { id, evenLast }: z.output<typeof revokeApiKeyArgs>,
): Promise<Plan> {
  const keys = await listApiKeys(context.db);
  const key = keys.find(({ document }) => document.id === id)?.document;
  if (!key) return refuse(404, 'unknown_api_key', 'there is no such API key');
  const standing = keys.filter(({ isRevoked }) => !isRevoked).map(({ document }) => document);
  if (!evenLast && isLastFullKey(standing, id, context.now.getTime())) return LAST_FULL_KEY;
  return {
    kind: 'change',
    document: { kind: 'api-key', id, removed: true, content: null },
    result: { id },
    event: { userId: null, username: null, details: { apiKey: id, name: key.name } },
  };
}
