import type { Log } from '@countersign/cluster';
import { countDocuments, readApplied, type Database } from '@countersign/database';
import { signNextMembers, type MemberList } from '@countersign/identity';
import type { PurposeKey } from '@countersign/keys';
import type { AuthorityDocument, MembersDocument } from '@countersign/verification';
import type { Mastership } from '../mastership.ts';
import {
  listJoinTokens,
  openAuthority,
  readAuthority,
  readMembers,
  type MemberDocuments,
} from './member-documents.ts';

type Duty = MemberDocuments & {
  db: Database;
  keys: Record<'document' | 'authority', PurposeKey>;
  mastership: Mastership;
};

/** What `init` made for the log, sealed under the key for it, until it stands there. */
export type Founding = { authority: AuthorityDocument; members: MemberList };

/** Results of a join are repeated for 10 minutes after it, and its token must still be known then. */
const KEEP_TOKENS_MS = 15 * 60_000;

/**
 * The founder's first mastership puts the CA and the first member into the log. True: both stand there, and the
 * founder need not keep them. An interruption in between is made up for.
 */
export async function ensureAuthority(duty: Duty, founding: Founding): Promise<boolean> {
  const { db, mastership } = duty;
  if ((await countDocuments(db, 'authority')) === 0) {
    const document = founding.authority;
    if (!(await mastership.write({ kind: 'authority', id: 'authority', document }))) return false;
  }
  if ((await countDocuments(db, 'members')) > 0) return true;
  const document: MembersDocument = {
    id: 'members',
    list: founding.members,
    spentTokens: [],
    rotationDueSince: null,
  };
  return mastership.write({ kind: 'members', id: 'members', document });
}

/**
 * After a forced promotion the list is signed anew: nodes that were left behind may have a newer one than the log has
 * now, and take no older.
 */
export async function signAfterDisaster(duty: Duty, nowMs = Date.now()): Promise<boolean> {
  const { db, keys, mastership } = duty;
  const disasterAt = (await readApplied(db))?.incarnation.disasterAt ?? null;
  if (disasterAt === null) return true;
  const isBefore = ({ version }: MemberList) => version * 1000 < Date.parse(disasterAt);
  const stored = await readMembers(duty);
  if (!stored || !isBefore(stored.document.list)) return true;
  return mastership.rewrite({
    kind: 'members',
    id: 'members',
    async make(): Promise<MembersDocument | null> {
      const [authority, now] = await Promise.all([readAuthority(duty), readMembers(duty)]);
      if (!authority || !now || !isBefore(now.document.list)) return null;
      const { list } = now.document;
      const opened = openAuthority(authority, keys.authority);
      return { ...now.document, list: signNextMembers(opened, list, list.members, nowMs) };
    },
  });
}

/** Tokens that nobody can use any more. */
export async function clearJoinTokens(duty: Duty, nowMs = Date.now()): Promise<void> {
  for (const { id, expiresAt } of await listJoinTokens(duty)) {
    if (Date.parse(expiresAt) > nowMs - KEEP_TOKENS_MS) continue;
    const isGone = await duty.mastership.write({
      kind: 'join-token',
      id,
      document: null,
      removed: true,
    });
    if (!isGone) return;
  }
}

/** Tells the supervisor who may connect, now and whenever that changes. */
export class MemberWatch {
  readonly #from: MemberDocuments;
  readonly #tell: (list: MemberList) => void;
  readonly #log: Log;
  #toldRevision = 0;

  constructor(from: MemberDocuments, tell: (list: MemberList) => void, log: Log) {
    this.#from = from;
    this.#tell = tell;
    this.#log = log;
  }

  async look(): Promise<void> {
    const stored = await readMembers(this.#from);
    if (!stored || stored.revision === this.#toldRevision) return;
    this.#toldRevision = stored.revision;
    const { list } = stored.document;
    this.#log.info({ version: list.version, members: list.members.length }, 'members changed');
    this.#tell(list);
  }
}
