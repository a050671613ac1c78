import type { Command, MasterReply } from '@countersign/cluster';
import type { Allowed } from '../authorise.ts';
import type { Mastership } from '../mastership.ts';
import type { Replica } from '../replica.ts';
import { listJoinTokens, readMembers, type MemberDocuments } from './member-documents.ts';

type Refused = Extract<MasterReply, { kind: 'refused' }>;

/** `join-token.list`: only agents can read these documents, so the master answers. */
export async function answerJoinTokens(
  command: Command,
  parts: MemberDocuments & {
    mastership: Pick<Mastership, 'isActive' | 'isHandingOver'>;
    replica: Pick<Replica, 'applied'>;
    authorise(command: Command): Promise<Allowed | Refused>;
  },
): Promise<MasterReply> {
  const { mastership, replica } = parts;
  if (mastership.isHandingOver) return { kind: 'handing_over' };
  if (!mastership.isActive) return { kind: 'not_master' };
  const judged = await parts.authorise(command);
  if (judged.kind === 'refused') return judged;
  const [tokens, stored] = await Promise.all([listJoinTokens(parts), readMembers(parts)]);
  const spent = new Set(stored?.document.spentTokens.map(({ id }) => id));
  const joinTokens = tokens.map(({ id, role, createdAt, expiresAt }) => {
    return { id, role, createdAt, expiresAt, isUsed: spent.has(id) };
  });
  return { kind: 'done', revision: replica.applied.revision, result: { joinTokens } };
}
