import { signNextMembers } from '@countersign/identity';
import type { PurposeKey } from '@countersign/keys';
import type { MembersDocument } from '@countersign/verification';
import type { Mastership } from '../mastership.ts';
import {
  openAuthority,
  readAuthority,
  readMembers,
  type MemberDocuments,
} from './member-documents.ts';

export async function isMember(from: MemberDocuments, name: string): Promise<boolean> {
  const stored = await readMembers(from);
  return stored?.document.list.members.some((member) => member.name === name) ?? false;
}

/**
 * Takes a node or witness off the list of those who may connect, and notes that the cluster key, which a node knew,
 * is to be changed. `isHostile`: whoever has that key may be using it now. False: it did not certainly happen. True also where there is no such member.
 */
export async function removeMember(
  from: MemberDocuments & {
    keys: { authority: PurposeKey };
    mastership: Pick<Mastership, 'rewrite'>;
  },
  name: string,
  { isHostile = false, nowMs = Date.now() }: { isHostile?: boolean; nowMs?: number } = {},
): Promise<boolean> {
  return from.mastership.rewrite({
    kind: 'members',
    id: 'members',
    async make(): Promise<MembersDocument | null> {
      const [authority, stored] = await Promise.all([readAuthority(from), readMembers(from)]);
      if (!authority || !stored) return null;
      const { document } = stored;
      const { members } = document.list;
      const removed = members.find((member) => member.name === name);
      if (!removed) return null;
      const at = new Date(nowMs).toISOString();
      const opened = openAuthority(authority, from.keys.authority);
      const left = members.filter((member) => member !== removed);
      return {
        ...document,
        list: signNextMembers(opened, document.list, left, nowMs),
        rotationDueSince: removed.role === 'node' ? at : document.rotationDueSince,
        ...(isHostile && removed.role === 'node' && { hostileSince: at }),
      };
    },
  });
}
