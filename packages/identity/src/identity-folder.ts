import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createUserSeed, publicKeyOfSeed } from './nkey-users.ts';
import { IdentityError } from './identity-error.ts';
import { verifyMembers, type MemberList } from './member-list.ts';
import { assertPrivate, readPrivateFile, writeDurably } from './private-files.ts';
import { readNodeCertificate } from './read-certificates.ts';
import { createKeyPem } from './signing-keys.ts';

/** Who a node is towards the others. */
export type Identity = {
  clusterId: string;
  nodeName: string;
  /** The cluster's CA certificates, newest first. */
  caPem: string;
  /** This node's certificate, then the CA's: what it shows as server and as client. */
  certificatePem: string;
  /** PKCS #8. */
  keyPem: string;
  /** Seeds of nkey users. */
  agentSeed: string;
  workerSeed: string;
  supervisorSeed: string;
  members: MemberList;
};

/** What a node makes for itself and never hands out. */
export type OwnSecrets = Pick<Identity, 'keyPem' | 'agentSeed' | 'workerSeed' | 'supervisorSeed'>;

export const IDENTITY_FILES = {
  caPem: 'ca.pem',
  certificatePem: 'node.pem',
  keyPem: 'node.key',
  agentSeed: 'agent.nk',
  workerSeed: 'worker.nk',
  supervisorSeed: 'supervisor.nk',
  members: 'members.json',
} as const;

/**
 * Reads and checks an identity folder; null where there is none: the node is an open one on loopback. An expired
 * certificate is still read: it is for whoever uses it to say.
 * @throws IdentityError, one line that names the file
 */
export function readIdentity(folder: string): Identity | null {
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (!stat) return null;
  if (!stat.isDirectory()) throw new IdentityError('malformed', `${folder} is not a folder`);
  assertPrivate(folder, stat.mode, '700');
  const read = (name: string) => {
    const text = readPrivateFile(join(folder, name));
    if (text === null) throw new IdentityError('missing', `${join(folder, name)} is missing`);
    return text;
  };
  const caPem = read(IDENTITY_FILES.caPem);
  const certificatePem = read(IDENTITY_FILES.certificatePem);
  const secrets = {
    keyPem: read(IDENTITY_FILES.keyPem),
    agentSeed: read(IDENTITY_FILES.agentSeed).trim(),
    workerSeed: read(IDENTITY_FILES.workerSeed).trim(),
    supervisorSeed: read(IDENTITY_FILES.supervisorSeed).trim(),
  };
  return naming(folder, () => {
    for (const seed of [secrets.agentSeed, secrets.workerSeed, secrets.supervisorSeed]) {
      publicKeyOfSeed(seed);
    }
    const members = verifyMembers(parseJson(read(IDENTITY_FILES.members)), { caPem });
    const { name } = readNodeCertificate(certificatePem, { caPem, keyPem: secrets.keyPem });
    const { clusterId } = members;
    return { clusterId, nodeName: name, caPem, certificatePem, ...secrets, members };
  });
}

/**
 * The secrets in a folder, made now where they are missing: the same ones again after an interruption. The folder is
 * made where there is none.
 */
export function prepareOwnSecrets(folder: string): OwnSecrets {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const keep = (name: string, make: () => string) => {
    const path = join(folder, name);
    const found = readPrivateFile(path);
    if (found !== null) return found.trim();
    const made = make().trim();
    writeDurably(path, `${made}\n`);
    return made;
  };
  return {
    keyPem: `${keep(IDENTITY_FILES.keyPem, createKeyPem)}\n`,
    agentSeed: keep(IDENTITY_FILES.agentSeed, createUserSeed),
    workerSeed: keep(IDENTITY_FILES.workerSeed, createUserSeed),
    supervisorSeed: keep(IDENTITY_FILES.supervisorSeed, createUserSeed),
  };
}

/** Writes what the cluster gave this node, each file whole. */
export function writeMembership(
  folder: string,
  given: Pick<Identity, 'caPem' | 'certificatePem' | 'members'>,
): void {
  writeDurably(join(folder, IDENTITY_FILES.caPem), given.caPem);
  writeDurably(join(folder, IDENTITY_FILES.certificatePem), given.certificatePem);
  writeMembers(folder, given.members);
}

/** Puts a renewed certificate in the old one's place. @throws IdentityError `refused`: not one for this node's key */
export function replaceCertificate(folder: string, certificatePem: string): void {
  const identity = readIdentity(folder);
  if (!identity) throw new IdentityError('missing', `${folder} is missing`);
  const { name } = readNodeCertificate(certificatePem, identity);
  if (name !== identity.nodeName) {
    throw new IdentityError('refused', 'the certificate is for another node');
  }
  writeDurably(join(folder, IDENTITY_FILES.certificatePem), certificatePem);
}

/**
 * Takes over a member list that the cluster's CA has signed. False: it is there already.
 * @throws IdentityError `refused`: not signed by it, of another cluster, or not newer than the one that is there: whoever
 *   kept an old one would let removed members in again
 */
export function replaceMembers(folder: string, value: unknown): boolean {
  const identity = readIdentity(folder);
  if (!identity) throw new IdentityError('missing', `${folder} is missing`);
  const members = verifyMembers(value, identity);
  if (members.signature === identity.members.signature) return false;
  assertNotOlder(members, identity.members);
  writeMembers(folder, members);
  return true;
}

/** @throws IdentityError `refused`: there is a newer list, or another of the same version */
export function assertNotOlder(list: MemberList, than: MemberList): void {
  if (list.signature === than.signature || list.version > than.version) return;
  throw new IdentityError(
    'refused',
    `the member list ${list.version} is not newer than the list ${than.version} that is there`,
  );
}

/** Another file beside an identity, only its owner's. Null: there is none, or it is not JSON. */
export function readPrivateJson(path: string): unknown {
  const text = readPrivateFile(path);
  return text === null ? null : parseJson(text);
}

function writeMembers(folder: string, members: MemberList): void {
  const text = `${JSON.stringify(members, null, 2)}\n`;
  writeDurably(join(folder, IDENTITY_FILES.members), text);
}

function naming<T>(folder: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof IdentityError) || error.message.startsWith(folder)) throw error;
    throw new IdentityError(error.code, `${folder}: ${error.message}`, { cause: error });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
