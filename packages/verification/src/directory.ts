import { z } from 'zod';
import { id, instant } from './document-fields.ts';
import { METHODS } from './methods.ts';
import { isSafeText } from './safe-text.ts';

/** Where people come from: an Active Directory or an LDAP server, and who of it becomes a user. */

export const DIRECTORIES_MAX = 50;
export const SYNC_ITEMS_MAX = 100;
export const DIRECTORY_SERVERS_MAX = 10;

/** As people's cards name them; which attribute each is, is the directory's mapping. */
export const PHONE_KINDS = ['business', 'home', 'mobile', 'pager', 'fax', 'ip', 'custom'] as const;
export type PhoneKind = (typeof PHONE_KINDS)[number];

const line = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((text) => text.trim() === text, 'begins or ends with a space')
    .refine(isSafeText, 'has control, invisible or broken characters');

export const directoryName = line(64).refine((name) => name !== '__proto__', 'not a name');
const distinguishedName = line(1024);
const filter = line(2000).refine((text) => /^\(.*\)$/.test(text), 'a filter stands in ( )');
const attributeName = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9-]{0,62}$/, 'the name of an attribute, such as sAMAccountName');

/** An attribute of the directory for each thing that is known of a person; null: it is not read. */
const attributeMap = z.strictObject({
  uniqueId: attributeName,
  /** How it is written: 16 bytes in Microsoft's order, or text. */
  uniqueIdType: z.enum(['guid', 'text']),
  /** In order: the first that a person has is the username. */
  usernames: z.array(attributeName).min(1).max(2),
  /** The short name that stands behind DOMAIN\ and before @domain. */
  shortName: attributeName.nullable(),
  firstName: attributeName.nullable(),
  lastName: attributeName.nullable(),
  displayName: attributeName.nullable(),
  mail: attributeName.nullable(),
  description: attributeName.nullable(),
  language: attributeName.nullable(),
  /** What the person is one of, such as the department: shown with the user. */
  group: attributeName.nullable(),
  phones: z.strictObject(
    Object.fromEntries(PHONE_KINDS.map((kind) => [kind, attributeName.nullable()])) as Record<
      PhoneKind,
      z.ZodNullable<typeof attributeName>
    >,
  ),
  /** Of all phones that do not bring one themselves ("x890"). */
  extension: attributeName.nullable(),
});
export type AttributeMap = z.infer<typeof attributeMap>;

/** always: the directory's word goes; import: at the import alone; never. */
const UPDATES = ['always', 'import', 'never'] as const;

export const syncItem = z.strictObject({
  id,
  name: directoryName,
  /** Whose people: of the whole directory, of a container and what is below it, of a group and the groups in it. */
  scope: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('domain') }),
    z.strictObject({ kind: z.literal('container'), dn: distinguishedName }),
    z.strictObject({ kind: z.literal('group'), dn: distinguishedName }),
  ]),
  /** Whether the users it brings may sign in. */
  enabled: z.boolean(),
  /** Null: the company's. */
  method: z.enum(METHODS).nullable(),
  language: z
    .string()
    .regex(/^[a-z]{2}$/)
    .nullable(),
  /** Which phones are taken, in order; the first that a person has is the one called. */
  phones: z
    .array(z.strictObject({ kind: z.enum(PHONE_KINDS), use: z.enum(['primary', 'backup']) }))
    .max(4),
  /** Whether an administrator vouches for numbers from there: for none, for those of the import, for every one. */
  vouchForPhones: z.enum(['never', 'import', 'always']),
  /** Whether new users are sent the mail that tells how to sign in. */
  mailOnImport: z.boolean(),
  /** What becomes of a user who is in no item any more. */
  onRemoval: z.enum(['keep', 'disable', 'remove']),
  update: z.strictObject({
    username: z.enum(UPDATES),
    names: z.enum(UPDATES),
    mail: z.enum(UPDATES),
    description: z.enum(UPDATES),
    phones: z.enum(UPDATES),
    method: z.enum(UPDATES),
    language: z.enum(UPDATES),
  }),
});
export type SyncItem = z.infer<typeof syncItem>;

const server = z
  .string()
  .max(300)
  .regex(
    /^ldaps?:\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?$/,
    'an address such as ldaps://dc1.example.com or ldap://192.0.2.7:389',
  );

export const directoryDocument = z.strictObject({
  id,
  /** No other directory has it, whatever the case of its letters. */
  name: directoryName,
  type: z.enum(['active-directory', 'ldap']),
  /** What stands before a backslash or behind an @ and means this directory, such as CORP and corp.example. */
  domains: z.array(line(255)).max(20),
  /** Tried in this order. */
  servers: z.array(server).min(1).max(DIRECTORY_SERVERS_MAX),
  /** ldap:// without StartTLS only to this machine. */
  startTls: z.boolean(),
  certificates: z.strictObject({
    /** PEM; null: those that the system trusts. */
    authorities: z.string().max(65_536).nullable(),
    /** SHA-256 of server certificates in hex; where there are any, only these are trusted. */
    pinned: z.array(z.string().regex(/^[0-9a-f]{64}$/)).max(10),
    /** The name a certificate must have, where it is not the server's address. */
    serverName: line(253).nullable(),
  }),
  /** Who reads the directory; null: anonymous. */
  account: z
    .strictObject({
      /** A DN, or what Active Directory takes besides. */
      name: line(1024),
      sealedPassword: z.base64().min(4).max(2048),
    })
    .nullable(),
  baseDn: distinguishedName,
  filters: z.strictObject({ container: filter, group: filter, user: filter }),
  attributes: attributeMap,
  /** Of phone numbers written without one: ISO 3166. */
  defaultCountry: z.string().regex(/^[A-Z]{2}$/),
  /** How long a connection and an answer are waited for. */
  connectMs: z.int().min(100).max(30_000),
  answerMs: z.int().min(100).max(120_000),
  pageSize: z.int().min(10).max(1000),
  /** More people than this are refused, not cut off. */
  peopleMax: z.int().min(1).max(500_000),
  sync: z.strictObject({
    enabled: z.boolean(),
    /** From start to start. */
    intervalMinutes: z.int().min(1).max(1440),
    /** How changes are found; auto: DirSync with Active Directory, timestamps otherwise. */
    changes: z.enum(['auto', 'dirsync', 'timestamps', 'full']),
    /** So often everything is read, whatever else is. */
    fullHours: z.int().min(1).max(168),
  }),
  /** In the order of priority: the first that a person is in decides. */
  items: z
    .array(syncItem)
    .max(SYNC_ITEMS_MAX)
    .refine((all) => new Set(all.map((one) => one.id)).size === all.length, 'ids must differ'),
  createdAt: instant,
  updatedAt: instant,
});
export type DirectoryDocument = z.infer<typeof directoryDocument>;

const counts = z.strictObject({
  people: z.int().min(0),
  added: z.int().min(0),
  changed: z.int().min(0),
  /** By this run: those that came back are among `changed`. */
  disabled: z.int().min(0),
  removed: z.int().min(0),
  kept: z.int().min(0),
  held: z.int().min(0),
  /** Who could not be taken, such as for a name that somebody else has. */
  refused: z.int().min(0),
});
export type SyncCounts = z.infer<typeof counts>;

export const HELD_NAMES_MAX = 100;

/** How far the synchronisation of a directory is: whoever is master goes on from here. */
export const directorySyncDocument = z.strictObject({
  /** Of the directory. */
  id,
  /** Where the next reading of changes begins; null: everything is read. */
  cursor: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('dirsync'), cookie: z.base64().max(65_536) }),
      z.strictObject({ kind: z.literal('timestamps'), since: z.string().max(30) }),
    ])
    .nullable(),
  /** Hash of all that decides who is taken and how: after a change of it everything is read. */
  basis: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
  lastFullAt: instant.nullable(),
  /** The last run worth telling of: one that changed something, or went otherwise than the one before. */
  last: z
    .strictObject({
      startedAt: instant,
      endedAt: instant,
      kind: z.enum(['full', 'changes']),
      outcome: z.enum(['done', 'failed', 'held']),
      problem: z.string().max(500).refine(isSafeText).nullable(),
      counts,
    })
    .nullable(),
  /** Users disabled, removed or given another phone in the last 24 hours, by periods of 5 minutes. */
  taken: z.array(z.strictObject({ at: instant, count: z.int().min(1) })).max(300),
  /** What waits for an administrator. */
  held: z
    .strictObject({
      /** SHA-256 of who and what, all of it. */
      hash: z.string().regex(/^[0-9a-f]{64}$/),
      at: instant,
      count: z.int().min(1),
      /** Of the directory's users. */
      of: z.int().min(0),
      first: z
        .array(
          z.strictObject({
            userId: id,
            username: z.string().max(256),
            what: z.enum(['disable', 'remove', 'phone']),
          }),
        )
        .max(HELD_NAMES_MAX),
      decision: z
        .strictObject({ what: z.enum(['approved', 'rejected']), at: instant, by: line(256) })
        .nullable(),
    })
    .nullable(),
});
export type DirectorySyncDocument = z.infer<typeof directorySyncDocument>;
export type ChangesCursor = NonNullable<DirectorySyncDocument['cursor']>;

export const DIRECTORY_NAMES_MAX = 12;
const signInName = z
  .string()
  .min(1)
  .refine((text) => Buffer.byteLength(text, 'utf8') <= 256, 'has more than 256 bytes');

/** What makes a user one of a directory's. */
export const directoryLink = z.strictObject({
  id,
  /** The object there, for as long as it lives: its objectGUID as a UUID, or its entryUUID. */
  object: z.string().regex(/^[0-9a-z-]{1,64}$/),
  dn: distinguishedName,
  /** The sync item that it came by; null: imported by hand. */
  item: id.nullable(),
  /** Folded, all that it can be signed in with besides the username. */
  names: z.array(signInName).max(DIRECTORY_NAMES_MAX),
  /** Folded mail addresses: they count only where nobody has the name otherwise. */
  mails: z.array(signInName).max(4),
  /** Disabled by the synchronisation, which therefore may enable it again. */
  isDisabledBySync: z.literal(true).optional(),
  /** Since when it is in no item of the directory any more. */
  goneAt: instant.optional(),
  /** Numbers that the directory has now, and a verified phone that has another. */
  pendingPhones: z
    .array(
      z.strictObject({
        /** The phone that it would replace. */
        phone: id,
        number: z.string().regex(/^\+[1-9]\d{6,14}$/),
        extension: z
          .string()
          .regex(/^\d{1,10}$/)
          .optional(),
        seenAt: instant,
        /** It is replaced 24 hours later, and the old number told. */
        approved: z
          .strictObject({ at: instant, by: line(256), oldTold: z.literal(true).optional() })
          .optional(),
        /** Not asked about again, as long as the directory has this number. */
        rejected: z.strictObject({ at: instant, by: line(256) }).optional(),
      }),
    )
    .max(4)
    .optional(),
});
export type DirectoryLink = z.infer<typeof directoryLink>;
