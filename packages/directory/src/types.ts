/** What this package takes and gives. The documents of the cluster fit; it knows nothing of them. */

export type PhoneKind = 'business' | 'home' | 'mobile' | 'pager' | 'fax' | 'ip' | 'custom';

/** An attribute of the directory for each thing that is known of a person; null: it is not read. */
export type AttributeMap = {
  uniqueId: string;
  /** How it is written: 16 bytes in Microsoft's order, or text. */
  uniqueIdType: 'guid' | 'text';
  /** In order: the first that a person has is the username. At most 2. */
  usernames: string[];
  /** The short name that stands behind DOMAIN\ and before @domain. */
  shortName: string | null;
  firstName: string | null;
  lastName: string | null;
  displayName: string | null;
  mail: string | null;
  description: string | null;
  language: string | null;
  group: string | null;
  phones: Record<PhoneKind, string | null>;
  extension: string | null;
};

/** All that is needed to talk to a directory. */
export type DirectoryConfig = {
  name: string;
  type: 'active-directory' | 'ldap';
  /** What stands before a backslash or behind an @ and means this directory. */
  domains: string[];
  /** ldap:// or ldaps://, tried in this order. */
  servers: string[];
  startTls: boolean;
  certificates: {
    /** PEM; null: those that the system trusts. */
    authorities: string | null;
    /** SHA-256 of server certificates in hex. */
    pinned: string[];
    serverName: string | null;
  };
  /** Who reads the directory; null: anonymous. */
  account: { name: string; password: string } | null;
  baseDn: string;
  filters: { container: string; group: string; user: string };
  attributes: AttributeMap;
  /** ISO 3166. */
  defaultCountry: string;
  connectMs: number;
  answerMs: number;
  pageSize: number;
  peopleMax: number;
  sync: { changes: 'auto' | 'dirsync' | 'timestamps' | 'full' };
};

/** Somebody as the directory has them, in the forms that a user has. */
export type Person = {
  /** objectGUID as a UUID in lower case, or the text of the unique attribute. */
  object: string;
  dn: string;
  /** Two DNs are of one object where these are equal: see {@link dnKey}. */
  dnKey: string;
  /** Names it may be called by, best first; the last has the directory's domain in it. */
  usernames: string[];
  /** As typed by people, not folded: short name, DOMAIN\short name, user principal name, DN if it has at most 256 bytes. */
  names: string[];
  mails: string[];
  firstName: string | null;
  lastName: string | null;
  displayName: string | null;
  description: string | null;
  group: string | null;
  /** Two letters. */
  language: string | null;
  phones: Partial<Record<PhoneKind, { number: string; extension: string | null }>>;
  /** Disabled in the directory (userAccountControl bit 2; pwdAccountLockedTime 000001010000Z). */
  isDisabled: boolean;
  /** What could not be taken over, and why. */
  dropped: { attribute: string; why: string }[];
};

/** Where a reading of changes goes on. */
export type ChangesCursor =
  | { kind: 'dirsync'; cookie: string }
  | { kind: 'timestamps'; since: string };

export type Changes =
  | {
      kind: 'changes';
      /** Objects of people that were made or changed, to be read again. */
      changed: string[];
      /** Objects that were removed, as far as the directory tells. */
      gone: string[];
      /** False: removals are found by comparing with all objects only. */
      areRemovalsTold: boolean;
      /** A group was made, changed or removed: memberships are to be read again. */
      haveGroupsChanged: boolean;
      cursor: ChangesCursor;
    }
  /**
   * The directory cannot go on from there (no right, no such control, too old, another server), or too much changed:
   * then changes are read from `cursor` on once everything was.
   */
  | { kind: 'full needed'; why: string; cursor?: ChangesCursor };

/** Why somebody cannot sign in, or that they can. */
export type SignIn =
  | { kind: 'accepted'; object: string; dn: string }
  | {
      kind: 'refused';
      reason:
        | 'wrong_password'
        | 'unknown_name'
        | 'ambiguous_name'
        | 'account_disabled'
        | 'account_locked'
        | 'account_expired'
        | 'password_expired'
        | 'must_change_password'
        | 'not_now';
    }
  /**
   * No server answered, or none that can be trusted. `mayBeWrong`: the password was sent, and the directory may have
   * counted it as a wrong one.
   */
  | { kind: 'unavailable'; problem: string; mayBeWrong?: true };

/** What {@link Directory.test} found: the one line that says what is wrong, and what was seen on the way. */
export type DirectoryTest = {
  ok: boolean;
  /** unreachable, certificate, credentials, base DN, rights. */
  fault: 'unreachable' | 'certificate' | 'credentials' | 'base_dn' | 'rights' | null;
  line: string;
  servers: { url: string; ok: boolean; line: string }[];
  seen: {
    /** Such as "Active Directory (Samba)" or "OpenLDAP". */
    server: string | null;
    namingContexts: string[];
    people: number | null;
    groups: number | null;
    containers: number | null;
    /** How changes would be found, and why not better. */
    changes: string | null;
  };
};
