import { join } from 'node:path';
import { IDENTITY_FILES } from '@countersign/identity';
import { createTestCluster } from '@countersign/identity/testing';
import { nkeys } from '@nats-io/transport-node';
import { inboxPrefixOf, permissionsOf, type LogRole } from '../log-permissions.ts';
import type { LogSignIn, TlsFiles } from '../log-sign-in.ts';

/** A member's files, and the key that the other servers know it by. */
export type TestMember = Required<TlsFiles> & { keyDigest: string };

export type TestSigner = {
  signIn: Extract<LogSignIn, { seed: string }> & { tls: TlsFiles };
  /** As the log servers' configuration lists it. */
  user: { nkey: string; isSystem: boolean; publish: string[]; subscribe: string[] };
};

/** Members of one new cluster, with their identities below `folder`. */
export async function makeMembers<Name extends string>(
  folder: string,
  names: readonly Name[],
): Promise<Record<Name, TestMember>> {
  const { members } = await createTestCluster(
    names.map((name) => ({ name, folder: join(folder, name) })),
  );
  const entries = names.map((name) => {
    const file = (of: keyof typeof IDENTITY_FILES) => join(folder, name, IDENTITY_FILES[of]);
    const member: TestMember = {
      authorityFile: file('caPem'),
      certificateFile: file('certificatePem'),
      keyFile: file('keyPem'),
      membersFile: file('members'),
      keyDigest: members.members.find((each) => each.name === name)!.keyDigest,
    };
    return [name, member];
  });
  return Object.fromEntries(entries) as Record<Name, TestMember>;
}

/** A process of `node` with a key of its own. */
export function makeSigner(
  node: string,
  role: LogRole,
  { authorityFile, certificateFile, keyFile, membersFile }: Required<TlsFiles>,
): TestSigner {
  const key = nkeys.createUser();
  return {
    signIn: {
      seed: Buffer.from(key.getSeed()).toString(),
      inboxPrefix: inboxPrefixOf(node, role),
      tls: { authorityFile, certificateFile, keyFile, membersFile },
    },
    user: {
      nkey: key.getPublicKey(),
      isSystem: role === 'supervisor',
      ...permissionsOf(role, node),
    },
  };
}
