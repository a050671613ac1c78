import { z } from 'zod';
import { readJoinToken } from '../members/member-documents.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const revokeJoinTokenArgs = z.strictObject({ id: z.string().max(64) });

export async function revokeJoinToken(
  context: PlanContext,
  { id }: z.output<typeof revokeJoinTokenArgs>,
): Promise<Plan> {
  const token = await readJoinToken(context, id);
  if (!token) return refuse(404, 'unknown_join_token', 'there is no such join token');
  return {
    kind: 'change',
    document: { kind: 'join-token', id, removed: true, content: null },
    result: { id },
    event: { userId: null, username: null, details: { joinToken: id, role: token.role } },
  };
}
