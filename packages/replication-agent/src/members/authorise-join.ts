import type { Command, MasterReply } from '@countersign/cluster';
import { isSignedByToken } from '@countersign/identity';
import type { Allowed } from '../authorise.ts';
import { joinNodeArgs } from '../commands/join-node.ts';
import { refuse } from '../commands/plan.ts';
import { readJoinToken, type MemberDocuments } from './member-documents.ts';

type Refused = Extract<MasterReply, { kind: 'refused' }>;

const NO_RIGHTS = { scopes: [], applications: [], networks: [], expiresAt: null };

/** A join is authorised by the token that signed it, and by nothing that a worker says of it. */
export async function authoriseJoin(
  from: MemberDocuments,
  command: Pick<Command, 'name' | 'args'>,
): Promise<Allowed | Refused> {
  const parsed = joinNodeArgs.safeParse(command.args);
  if (command.name !== 'node.join' || !parsed.success) {
    return refuse(401, 'unauthorized', 'a join token is good for joining alone');
  }
  const { request, signature } = parsed.data;
  const token = await readJoinToken(from, request.tokenId);
  if (!token || !isSignedByToken(request, signature, token.publicKey)) {
    return refuse(401, 'unauthorized', 'this cluster has no such join token');
  }
  return { kind: 'allowed', rights: NO_RIGHTS };
}
