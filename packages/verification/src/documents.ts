import { z } from 'zod';
import { administratorDocument } from './administrator.ts';
import { applicationDocument } from './application.ts';
import { directoryDocument, directoryLink, directorySyncDocument } from './directory.ts';
import { id, instant, name, nodeName, username } from './document-fields.ts';
import { keyRingDocument } from './key-ring.ts';
import { mailJobDocument } from './mail-job.ts';
import { authorityDocument, joinTokenDocument, membersDocument } from './member-documents.ts';
import { METHODS, MODES } from './methods.ts';
import { OTP_ALGORITHMS } from './otp.ts';
import { radiusClientDocument, radiusTargetDocument } from './radius.ts';
import { isSafeText } from './safe-text.ts';
import { settingsDocument } from './settings.ts';

/** The whole documents that changes carry. Unknown fields are refused, not silently lost. */

const oathFields = {
  id,
  name: name.optional(),
  algorithm: z.enum(OTP_ALGORITHMS),
  digits: z.union([z.literal(6), z.literal(7), z.literal(8)]),
  /** Sealed for this authenticator's id: worth nothing in another document. */
  sealedSecret: z.base64().min(4).max(256),
  /** Keyed hash of the secret: no two tokens have the same. Missing on those of earlier versions. */
  fingerprint: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .optional(),
  /** Of a token made elsewhere. No two users have the same. */
  serial: name.optional(),
  manufacturer: name.optional(),
  model: name.optional(),
  /** Imported and never proven to be in the user's hands: it verifies nobody until then. */
  awaitsActivation: z.literal(true).optional(),
  /** The step or counter that proved it, so that the same code is not good a second time. */
  usedUpTo: z.int().min(0).optional(),
  createdAt: instant,
};

const authenticator = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('totp'),
    ...oathFields,
    periodSeconds: z.union([z.literal(30), z.literal(60)]),
  }),
  z.strictObject({
    type: z.literal('hotp'),
    ...oathFields,
    initialCounter: z
      .int()
      .min(0)
      .max(2 ** 48),
  }),
  z.strictObject({
    type: z.literal('phone'),
    id,
    name: name.optional(),
    /** E.164. */
    number: z.string().regex(/^\+[1-9]\d{6,14}$/),
    extension: z
      .string()
      .regex(/^\d{1,10}$/)
      .optional(),
    use: z.enum(['primary', 'backup']),
    /** Whoever says that the number is the user's; null: nobody yet. */
    vouchedBy: name.nullable(),
    /** When a code sent there was first typed back. */
    verifiedAt: instant.nullable(),
    createdAt: instant,
  }),
]);
export type Authenticator = z.infer<typeof authenticator>;
export type OathAuthenticator = Extract<Authenticator, { type: 'totp' | 'hotp' }>;
export type PhoneAuthenticator = Extract<Authenticator, { type: 'phone' }>;

export const AUTHENTICATORS_MAX = 20;
export const OATH_TOKENS_MAX = 5;
export const PHONES_MAX = 4;

/** Argon2id of the peppered PIN, sealed once the cluster's key was changed; worth nothing without that key. */
const pinHash = z.strictObject({
  salt: z.base64().length(24),
  hash: z
    .base64()
    .refine((text) => text.length === 44 || text.length === 88, 'not a hash of a PIN'),
});
export type PinHash = z.infer<typeof pinHash>;

export const PIN_HISTORY_MAX = 24;
export const RECOVERY_CODES_MAX = 16;

const secretHash = z.string().regex(/^[0-9a-f]{64}$/);
const reasonText = z.string().min(1).max(500).refine(isSafeText, 'has control characters');

const signInFields = {
  /** The method of every day; left out: the application's or company's. */
  method: z.enum(METHODS).optional(),
  /** Modes of methods, where the user's differ from the settings. */
  modes: z
    .strictObject({
      oath: z.enum(MODES.oath).optional(),
      text: z.enum(MODES.text).optional(),
      call: z.enum(MODES.call).optional(),
      app: z.enum(MODES.app).optional(),
    })
    .optional(),
  /** A language of texts and mails; left out: the company's. */
  language: z
    .string()
    .regex(/^[a-z]{2}$/)
    .optional(),
  pin: z
    .strictObject({
      ...pinHash.shape,
      setAt: instant,
      /** Set by somebody else: to be changed at its first use. */
      mustChange: z.boolean(),
      /** Earlier ones, newest first. */
      history: z.array(pinHash).max(PIN_HISTORY_MAX),
    })
    .optional(),
  /** The second step is skipped until then. */
  exempt: z.strictObject({ reason: reasonText, at: instant, by: name, until: instant }).optional(),
  /** One verification without anything to show. */
  bypass: z
    .strictObject({ id, reason: reasonText, at: instant, by: name, expiresAt: instant })
    .optional(),
  recoveryCodes: z
    .strictObject({ at: instant, hashes: z.array(secretHash).max(RECOVERY_CODES_MAX) })
    .optional(),
  /** Lets the user's first authenticators be enrolled, once each code. */
  enrolment: z
    .strictObject({ id, codeHash: secretHash, at: instant, by: name, expiresAt: instant })
    .optional(),
};

/** Ids of stop facts: 64 nodes that cannot see each other accept 16 of a user each. */
const stopFactIds = z.array(id).max(64 * 16 * 2);

export const userDocument = z.strictObject({
  id,
  username,
  displayName: name.optional(),
  firstName: name.optional(),
  lastName: name.optional(),
  description: name.optional(),
  /** What the user is one of, such as a department. */
  group: name.optional(),
  email: name.optional(),
  /** Of a user that came from a directory. */
  directory: directoryLink.optional(),
  /** Removed, and kept for 30 days with all authenticators in case the same object comes back: no user until then. */
  removedAt: instant.optional(),
  /** Erased: the username is a pseudonym, and nothing else tells who it was. Kept for good. */
  erasedAt: instant.optional(),
  enabled: z.boolean(),
  blocked: z
    .strictObject({
      reason: reasonText,
      at: instant,
      by: name,
      expiresAt: instant,
      /** The stop facts that this block was made of. */
      stopFacts: stopFactIds.optional(),
    })
    .nullable(),
  /** Stop facts that do not count any more. */
  liftedStopFacts: stopFactIds.optional(),
  /** When an administrator last unlocked the user: lockouts and failures before it are void. */
  unlockedAt: instant.nullable(),
  authenticators: z
    .array(authenticator)
    .max(AUTHENTICATORS_MAX)
    .refine((all) => new Set(all.map((one) => one.id)).size === all.length, 'ids must differ'),
  ...signInFields,
  createdAt: instant,
  updatedAt: instant,
});
export type UserDocument = z.infer<typeof userDocument>;

export const API_SCOPES = [
  'users:read',
  'users:write',
  'settings:read',
  'settings:write',
  'cluster:read',
  'cluster:write',
  'verify',
  'reasons:read',
  'assert:client-ip',
  'events:read',
  'api-keys:write',
  /** To enrol with a user's enrolment code. */
  'enrol',
] as const;
export type ApiScope = (typeof API_SCOPES)[number];

export const apiKeyDocument = z.strictObject({
  id,
  name,
  /** SHA-256 of the key in hex: a key is random, so it needs no slow hash. */
  secretHash: z.string().regex(/^[0-9a-f]{64}$/),
  scopes: z.array(z.enum(API_SCOPES)).max(API_SCOPES.length),
  /** null: every application. */
  applications: z.array(name).max(100).nullable(),
  /** CIDR ranges the key may be used from; null: from anywhere. */
  networks: z
    .array(z.union([z.cidrv4(), z.cidrv6()]))
    .max(100)
    .nullable(),
  expiresAt: instant.nullable(),
  createdAt: instant,
});
export type ApiKeyDocument = z.infer<typeof apiKeyDocument>;

export const nodeDocument = z
  .strictObject({ id: nodeName, name: nodeName, addedAt: instant, version: name })
  .refine((node) => node.id === node.name, "a node's id is its name");
export type NodeDocument = z.infer<typeof nodeDocument>;

const documentSchemas = {
  user: userDocument,
  settings: settingsDocument,
  application: applicationDocument,
  'api-key': apiKeyDocument,
  administrator: administratorDocument,
  node: nodeDocument,
  job: mailJobDocument,
  authority: authorityDocument,
  members: membersDocument,
  'join-token': joinTokenDocument,
  'key-ring': keyRingDocument,
  directory: directoryDocument,
  'directory-sync': directorySyncDocument,
  'radius-client': radiusClientDocument,
  'radius-target': radiusTargetDocument,
};

export type DocumentKind = keyof typeof documentSchemas;
export type DocumentOf<K extends DocumentKind> = z.infer<(typeof documentSchemas)[K]>;
export const DOCUMENT_KINDS = Object.keys(documentSchemas) as DocumentKind[];

export class DocumentError extends Error {
  override readonly name = 'DocumentError';
}

/**
 * Reads a document from its JSON text.
 * @throws DocumentError naming each wrong field, never its value
 */
export function parseDocument<K extends DocumentKind>(
  kind: K,
  json: string | Uint8Array,
): DocumentOf<K> {
  let value: unknown;
  try {
    value = JSON.parse(typeof json === 'string' ? json : Buffer.from(json).toString('utf8'));
  } catch {
    // The parser's own message quotes the text, which may hold secrets.
    throw new DocumentError(`${kind} document is not JSON`);
  }
  return checkDocument(kind, value);
}

/** As {@link parseDocument}, for a value already in memory. */
export function checkDocument<K extends DocumentKind>(kind: K, value: unknown): DocumentOf<K> {
  const parsed = documentSchemas[kind].safeParse(value);
  if (parsed.success) return parsed.data as DocumentOf<K>;
  const problems = parsed.error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.join('.') || 'document'}: ${issue.message}`);
  throw new DocumentError(`${kind} document is not valid: ${problems.join('; ')}`);
}
