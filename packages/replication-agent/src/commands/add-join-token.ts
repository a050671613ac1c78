import { tokenPublicKey } from '@countersign/identity';
import { API_SCOPES, JOIN_TOKENS_MAX, type JoinTokenDocument } from '@countersign/verification';
import { z } from 'zod';
import { listJoinTokens, readAuthority } from '../members/member-documents.ts';
import { newJoinSecret } from '../new-secrets.ts';
import type { Rights } from '../authorise.ts';
import { rightBeyond } from './add-api-key.ts';
import { deriveId } from './derive-id.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

export const addJoinTokenArgs = z.strictObject({
  role: z.enum(['node', 'witness']),
  lifeSeconds: z.int().min(60).max(86_400),
});

export const NOT_SECURED: Refusal = refuse(
  409,
  'not_secured',
  'this cluster is open on loopback and nobody can join it: found one with countersign init',
);

const EVERY_RIGHT: Rights = {
  scopes: [...API_SCOPES],
  applications: null,
  networks: null,
  expiresAt: null,
};

/** What a caller lacks of every right there is, in words; null: nothing. It may be for a time. */
export function lackOfEveryRight(rights: Rights): string | null {
  return rightBeyond({ ...rights, expiresAt: null }, EVERY_RIGHT);
}

/** A node that joins knows all that the cluster knows, so only who may do everything lets it in (rule 31). */
export async function addJoinToken(
  context: PlanContext,
  { role, lifeSeconds }: z.output<typeof addJoinTokenArgs>,
): Promise<Plan> {
  const { keys, commandId, now } = context;
  const lacking = lackOfEveryRight(context.rights);
  if (lacking) return refuse(403, 'forbidden', `join tokens need every right, also ${lacking}`);
  if (!(await readAuthority(context))) return NOT_SECURED;
  if ((await listJoinTokens(context)).length >= JOIN_TOKENS_MAX) {
    const detail = `there are ${JOIN_TOKENS_MAX} join tokens: revoke some first`;
    return refuse(409, 'too_many_join_tokens', detail);
  }
  const id = deriveId(commandId, 'join-token');
  const createdAt = now.toISOString();
  const secret = newJoinSecret(keys['new-secret'], { commandId, at: createdAt });
  const content: JoinTokenDocument = {
    id,
    role,
    publicKey: tokenPublicKey(secret),
    createdAt,
    expiresAt: new Date(now.getTime() + lifeSeconds * 1000).toISOString(),
  };
  return {
    kind: 'change',
    document: { kind: 'join-token', id, removed: false, content },
    result: { id, role, expiresAt: content.expiresAt },
    event: {
      userId: null,
      username: null,
      details: { joinToken: id, role, expiresAt: content.expiresAt },
    },
  };
}
