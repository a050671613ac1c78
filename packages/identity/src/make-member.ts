import { createCertificateRequest } from './certificate-request.ts';
import type { Authority } from './create-authority.ts';
import { prepareOwnSecrets, type OwnSecrets } from './identity-folder.ts';
import { issueCertificate } from './issue-certificate.ts';
import type { Member, MemberRole } from './member-list.ts';
import { publicKeyOfSeed } from './nkey-users.ts';

/**
 * A member of a new cluster by whoever has its CA: its secrets in `folder`, which is made, its certificate and its entry
 * in the member list. Whoever comes later joins.
 * @throws IdentityError such as for names and hosts that no certificate may have
 */
export async function makeMember(
  authority: Authority,
  about: {
    folder: string;
    name: string;
    role?: MemberRole;
    hosts: string[];
    otherNodes?: string[];
    lifeMs: number;
  },
): Promise<{ entry: Member; certificatePem: string }> {
  const { folder, name, role = 'node', hosts, otherNodes = [], lifeMs } = about;
  const secrets = prepareOwnSecrets(folder);
  const requestPem = await createCertificateRequest({ name, keyPem: secrets.keyPem });
  const wanted = { authority, requestPem, name, hosts, otherNodes, lifeMs };
  const { certificatePem, serial, keyDigest, expiresAt } = await issueCertificate(wanted);
  const entry: Member = {
    name,
    role,
    ...publicKeysOf(secrets, role),
    certificateSerial: serial,
    keyDigest,
    hosts,
    certificateExpiresAt: expiresAt,
  };
  return { entry, certificatePem };
}

/** By which the log servers know a member; a witness runs neither agent nor workers. */
export function publicKeysOf(
  { agentSeed, workerSeed, supervisorSeed }: OwnSecrets,
  role: MemberRole,
): Pick<Member, 'agentKey' | 'workerKey' | 'supervisorKey'> {
  const isNode = role === 'node';
  return {
    agentKey: isNode ? publicKeyOfSeed(agentSeed) : null,
    workerKey: isNode ? publicKeyOfSeed(workerSeed) : null,
    supervisorKey: publicKeyOfSeed(supervisorSeed),
  };
}
