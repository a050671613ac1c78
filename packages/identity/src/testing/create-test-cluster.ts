import { createAuthority, createClusterId, type Authority } from '../create-authority.ts';
import { readIdentity, writeMembership } from '../identity-folder.ts';
import type { Identity } from '../identity-folder.ts';
import { makeMember } from '../make-member.ts';
import { signMembers, type MemberList, type MemberRole } from '../member-list.ts';

export type TestMember = {
  name: string;
  /** Its identity folder; made. */
  folder: string;
  role?: MemberRole;
  /** Beside its names; 127.0.0.1 unless told. */
  hosts?: string[];
  lifeMs?: number;
};

export type TestCluster = {
  authority: Authority;
  /** The signed list of all members. */
  members: MemberList;
  /** As read back from the folders, in the order given. */
  identities: Identity[];
};

const DAY_MS = 86_400_000;

/** A CA of its own and an identity folder for each member, as `init` and `join` make them. */
export async function createTestCluster(members: readonly TestMember[]): Promise<TestCluster> {
  const authority = await createAuthority({ clusterId: createClusterId() });
  const made = await Promise.all(
    members.map(async ({ folder, ...member }) => {
      const about = { hosts: ['127.0.0.1'], lifeMs: DAY_MS, ...member, folder };
      return { folder, ...(await makeMember(authority, about)) };
    }),
  );
  const list = signMembers(authority, { version: 1, members: made.map(({ entry }) => entry) });
  const identities = made.map(({ folder, certificatePem }) => {
    writeMembership(folder, { caPem: authority.certificatePem, certificatePem, members: list });
    return readIdentity(folder)!;
  });
  return { authority, members: list, identities };
}
