import { createPrivateKey, sign, verify, X509Certificate } from 'node:crypto';
import type { Authority } from './create-authority.ts';
import { IdentityError } from './identity-error.ts';
import { isUserPublicKey } from './nkey-users.ts';
import { splitCertificates } from './read-certificates.ts';

/** A witness runs only a nats-server: nobody of it may use the log. */
export type MemberRole = 'node' | 'witness';

export type Member = {
  name: string;
  role: MemberRole;
  /** Public nkeys (`U…`); null on a witness. */
  agentKey: string | null;
  workerKey: string | null;
  supervisorKey: string;
  /** Of the certificate issued last, hex in lower case. */
  certificateSerial: string;
  /**
   * SHA-256 of its certificate's public key (SPKI, DER), hex: nats-server's `pinned_certs`. Renewals keep the key, so
   * this tells who may connect as a log server also while certificates of removed nodes still run.
   */
  keyDigest: string;
  /** What else than its own names its certificate is for. */
  hosts: string[];
  /** When its certificate ends, ISO 8601. */
  certificateExpiresAt: string;
};

/** Who may connect to the log servers, as the CA has signed it. */
export type MemberList = {
  clusterId: string;
  version: number;
  members: Member[];
  /** ECDSA P-256 with SHA-256 by the CA over all else, base64. */
  signature: string;
};

/** More nodes than a cluster remembers at all. */
export const MAX_MEMBERS = 64;

/** Signs the list as `version`; members are put in the order of their names. */
export function signMembers(
  authority: Authority,
  list: Pick<MemberList, 'version' | 'members'>,
): MemberList {
  const { clusterId } = authority;
  const members = list.members.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const unsigned = { clusterId, version: list.version, members };
  const key = createPrivateKey(authority.keyPem);
  const signature = sign('sha256', canonicalBytes(unsigned), key).toString('base64');
  return { ...unsigned, signature };
}

/**
 * Signs the list after this one. Its version is Unix seconds, so that what is signed after a forced promotion is newer
 * than what only the nodes left behind have seen; more than the last one in any case.
 */
export function signNextMembers(
  authority: Authority,
  { version }: Pick<MemberList, 'version'>,
  members: readonly Member[],
  nowMs: number,
): MemberList {
  const next = Math.max(version + 1, Math.floor(nowMs / 1000));
  return signMembers(authority, { version: next, members: [...members] });
}

/**
 * The list, if one of these CAs has signed it.
 * @throws IdentityError `malformed`: not a member list; `refused`: nobody's signature, or another cluster's list
 */
export function verifyMembers(
  value: unknown,
  trusted: { caPem: string; clusterId?: string },
): MemberList {
  const list = parseMembers(value);
  if (trusted.clusterId !== undefined && list.clusterId !== trusted.clusterId) {
    throw new IdentityError('refused', 'the member list is of another cluster');
  }
  const bytes = canonicalBytes(list);
  const signature = Buffer.from(list.signature, 'base64');
  const isSigned = splitCertificates(trusted.caPem).some((pem) =>
    verify('sha256', bytes, new X509Certificate(pem).publicKey, signature),
  );
  if (!isSigned) {
    throw new IdentityError('refused', "the member list is not signed by the cluster's CA");
  }
  return list;
}

/** The order of keys is fixed here, so that it does not matter how the list was carried. */
function canonicalBytes(list: Omit<MemberList, 'signature'>): Buffer {
  const members = list.members.map((member) => [
    member.name,
    member.role,
    member.agentKey,
    member.workerKey,
    member.supervisorKey,
    member.certificateSerial,
    member.keyDigest,
    member.hosts,
    member.certificateExpiresAt,
  ]);
  const content = JSON.stringify([list.clusterId, list.version, members]);
  return Buffer.from(`countersign members 1\n${content}`, 'utf8');
}

function parseMembers(value: unknown): MemberList {
  const list = value as Partial<MemberList> | null;
  if (
    typeof list === 'object' &&
    list !== null &&
    typeof list.clusterId === 'string' &&
    Number.isSafeInteger(list.version) &&
    typeof list.signature === 'string' &&
    Array.isArray(list.members) &&
    list.members.length <= MAX_MEMBERS &&
    list.members.every(isMember)
  ) {
    const { clusterId, version, members, signature } = list as MemberList;
    return { clusterId, version, members, signature };
  }
  throw new IdentityError('malformed', 'not a member list');
}

function isMember(value: unknown): value is Member {
  const member = value as Partial<Member> | null;
  if (typeof member !== 'object' || member === null) return false;
  const { role, agentKey, workerKey, supervisorKey, hosts } = member;
  const isKey = (key: unknown) => typeof key === 'string' && isUserPublicKey(key);
  const hasKeys =
    role === 'node'
      ? isKey(agentKey) && isKey(workerKey)
      : role === 'witness' && agentKey === null && workerKey === null;
  return (
    hasKeys &&
    isKey(supervisorKey) &&
    isText(member.name) &&
    isText(member.certificateSerial) &&
    isText(member.keyDigest) &&
    isText(member.certificateExpiresAt) &&
    Array.isArray(hosts) &&
    hosts.every(isText)
  );
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= 256;
}
