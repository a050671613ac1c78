import { decodeChange } from '@countersign/cluster';
import { listDocumentsOfKind, readDocument, type Database } from '@countersign/database';
import type { Authority } from '@countersign/identity';
import { open, seal, type PurposeKey } from '@countersign/keys';
import { sealerOf } from '@countersign/operations';
import {
  checkDocument,
  type AuthorityDocument,
  type JoinTokenDocument,
  type MembersDocument,
} from '@countersign/verification';

/** What of the log tells who belongs to the cluster; no table shows it, so it is opened each time. */
export type MemberDocuments = { db: Database; keys: { document: PurposeKey } };

/** Null: this cluster is open on loopback, or its founder has not written it yet. */
export async function readAuthority(from: MemberDocuments): Promise<AuthorityDocument | null> {
  return (await readOne(from, 'authority', 'authority'))?.document ?? null;
}

export async function readMembers(
  from: MemberDocuments,
): Promise<{ document: MembersDocument; revision: number } | null> {
  return readOne(from, 'members', 'members');
}

export async function readJoinToken(
  from: MemberDocuments,
  id: string,
): Promise<JoinTokenDocument | null> {
  return (await readOne(from, 'join-token', id))?.document ?? null;
}

/** Every token that was not revoked or cleared away, oldest first. */
export async function listJoinTokens({ db, keys }: MemberDocuments): Promise<JoinTokenDocument[]> {
  const rows = await listDocumentsOfKind(db, 'join-token');
  const sealer = sealerOf(keys.document);
  return rows
    .map(({ bytes }) => checkDocument('join-token', decodeChange(bytes, sealer).document))
    .toSorted((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
}

/** The CA with its key, for the moment in which something is signed. */
export function openAuthority(document: AuthorityDocument, key: PurposeKey): Authority {
  const { clusterId, certificatesPem, sealedKey } = document;
  const sealed = Buffer.from(sealedKey, 'base64');
  const keyPem = open(key, sealed, authorityContext(clusterId)).toString('utf8');
  return { clusterId, certificatePem: certificatesPem, keyPem };
}

export function sealAuthority(authority: Authority, key: PurposeKey): AuthorityDocument {
  const { clusterId, certificatePem, keyPem } = authority;
  const sealed = seal(key, Buffer.from(keyPem), authorityContext(clusterId));
  const sealedKey = sealed.toString('base64');
  return { id: 'authority', clusterId, certificatesPem: certificatePem, sealedKey };
}

function authorityContext(clusterId: string): string {
  return `authority/${clusterId}`;
}

async function readOne<K extends 'authority' | 'members' | 'join-token'>(
  { db, keys }: MemberDocuments,
  kind: K,
  id: string,
) {
  const row = await readDocument(db, kind, id);
  if (!row || row.removed) return null;
  const { document } = decodeChange(row.bytes, sealerOf(keys.document));
  return { document: checkDocument(kind, document), revision: row.revision };
}
