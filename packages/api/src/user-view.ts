import { stopFactsInForce, withStopFacts, type DirectoryDocument } from '@countersign/verification';
import { z } from 'zod';
import type { ApiPorts, StoredUser, UserDocument } from './ports.ts';
import { timestamp } from './schemas.ts';

const authenticatorView = z.object({
  id: z.string(),
  type: z.enum(['totp', 'hotp', 'phone']),
  name: z.string().nullable(),
  /** null for a phone. */
  algorithm: z.string().nullable(),
  digits: z.int().nullable(),
  periodSeconds: z.int().nullable(),
  serial: z.string().nullable(),
  manufacturer: z.string().nullable(),
  model: z.string().nullable(),
  /** Imported, and no code of it was ever given. */
  awaitsActivation: z.boolean(),
  /** null for a token. */
  number: z.string().nullable(),
  extension: z.string().nullable(),
  use: z.enum(['primary', 'backup']).nullable(),
  /** Who says that the phone is the user's; null: nobody. */
  vouchedBy: z.string().nullable(),
  verifiedAt: timestamp.nullable(),
  createdAt: timestamp,
});

/** Where a user came from. */
const directoryView = z.object({
  id: z.string(),
  /** null: this node does not know that directory (any more). */
  name: z.string().nullable(),
  /** The sync item that brought the user; null: imported by hand. */
  item: z.object({ id: z.string(), name: z.string().nullable() }).nullable(),
  dn: z.string(),
  /** What stays the same there when the user is renamed. */
  object: z.string(),
  /** Names besides the username that it is found by. */
  names: z.array(z.string()),
  mails: z.array(z.string()),
  isDisabledBySync: z.boolean(),
  /** Since when it is in no sync item any more. */
  goneAt: timestamp.nullable(),
  /** Numbers that the directory has now, of phones that are verified with another. */
  pendingPhones: z.array(
    z.object({
      phone: z.string(),
      number: z.string(),
      extension: z.string().nullable(),
      seenAt: timestamp,
      approved: z.object({ at: timestamp, by: z.string() }).nullable(),
    }),
  ),
});

/** A user as the API shows it: never with a secret. */
export const userView = z.object({
  id: z.string(),
  username: z.string(),
  displayName: z.string().nullable(),
  firstName: z.string().nullable(),
  lastName: z.string().nullable(),
  description: z.string().nullable(),
  group: z.string().nullable(),
  email: z.string().nullable(),
  /** null: a local user. */
  directory: directoryView.nullable(),
  enabled: z.boolean(),
  blocked: z
    .object({ reason: z.string(), at: timestamp, by: z.string(), expiresAt: timestamp })
    .nullable(),
  /** Blocks accepted without a master that are not changes yet. */
  pendingStopFacts: z.array(
    z.object({
      id: z.string(),
      reason: z.string(),
      at: timestamp,
      by: z.string(),
      node: z.string(),
      expiresAt: timestamp.nullable(),
    }),
  ),
  lockedUntil: timestamp.nullable(),
  /** null where it is the application's or company's. */
  method: z.string().nullable(),
  modes: z.record(z.string(), z.string()),
  language: z.string().nullable(),
  /** null: none is set. */
  pin: z.object({ setAt: timestamp, mustChange: z.boolean() }).nullable(),
  /** In force: the second step is skipped. */
  exempt: z
    .object({ reason: z.string(), at: timestamp, by: z.string(), until: timestamp })
    .nullable(),
  /** Granted and not expired; whether it was used is not known here. */
  bypass: z
    .object({ reason: z.string(), at: timestamp, by: z.string(), expiresAt: timestamp })
    .nullable(),
  /** How many were made; used ones count. */
  recoveryCodes: z.int(),
  /** Open: an enrolment code is out. */
  enrolment: z.object({ at: timestamp, by: z.string(), expiresAt: timestamp }).nullable(),
  authenticators: z.array(authenticatorView),
  createdAt: timestamp,
  updatedAt: timestamp,
  revision: z.int(),
});
export type UserView = z.infer<typeof userView>;

/** Users as the API shows them. Directories are read, for their names, only where somebody is of one. */
export async function viewUsers(
  ports: Pick<ApiPorts, 'readSettings'>,
  users: readonly StoredUser[],
): Promise<UserView[]> {
  const isAnyLinked = users.some(({ document }) => document.directory !== undefined);
  const directories = isAnyLinked ? (await ports.readSettings()).directories : [];
  const nowMs = Date.now();
  return users.map((user) => viewUser(user, nowMs, directories));
}

export async function viewOneUser(
  ports: Pick<ApiPorts, 'readSettings'>,
  user: StoredUser,
): Promise<UserView> {
  const [view] = await viewUsers(ports, [user]);
  return view!;
}

function viewUser(
  user: StoredUser,
  nowMs: number,
  directories: readonly DirectoryDocument[],
): UserView {
  const document = withStopFacts(user.document, user.stopFacts, nowMs);
  const isBlocked = document.blocked !== null && Date.parse(document.blocked.expiresAt) > nowMs;
  return {
    id: document.id,
    username: document.username,
    displayName: document.displayName ?? null,
    firstName: document.firstName ?? null,
    lastName: document.lastName ?? null,
    description: document.description ?? null,
    group: document.group ?? null,
    email: document.email ?? null,
    directory: document.directory ? viewDirectory(document.directory, directories) : null,
    enabled: document.enabled,
    blocked: isBlocked ? viewBlock(document.blocked!) : null,
    pendingStopFacts: stopFactsInForce(document, user.stopFacts, nowMs)
      .filter(({ id }) => !user.document.blocked?.stopFacts?.includes(id))
      .map(({ id, reason, at, by, node, expiresAt }) => ({ id, reason, at, by, node, expiresAt })),
    lockedUntil: user.lockedUntil,
    ...viewSignIn(document, nowMs),
    authenticators: document.authenticators.map(viewAuthenticator),
    createdAt: document.createdAt,
    updatedAt: document.updatedAt,
    revision: user.revision,
  };
}

function viewDirectory(
  link: NonNullable<UserDocument['directory']>,
  directories: readonly DirectoryDocument[],
): z.infer<typeof directoryView> {
  const known = directories.find(({ id }) => id === link.id);
  const item = known?.items.find(({ id }) => id === link.item);
  return {
    id: link.id,
    name: known?.name ?? null,
    item: link.item === null ? null : { id: link.item, name: item?.name ?? null },
    dn: link.dn,
    object: link.object,
    names: link.names,
    mails: link.mails,
    isDisabledBySync: link.isDisabledBySync ?? false,
    goneAt: link.goneAt ?? null,
    pendingPhones: (link.pendingPhones ?? []).map((pending) => ({
      phone: pending.phone,
      number: pending.number,
      extension: pending.extension ?? null,
      seenAt: pending.seenAt,
      approved: pending.approved ? { at: pending.approved.at, by: pending.approved.by } : null,
    })),
  };
}

function viewBlock({ reason, at, by, expiresAt }: NonNullable<UserDocument['blocked']>) {
  return { reason, at, by, expiresAt };
}

// Field by field, here and below, so that no hash or secret slips out.
function viewSignIn(document: UserDocument, nowMs: number) {
  const { method, modes, language, pin, exempt, bypass, recoveryCodes, enrolment } = document;
  const isFuture = (iso: string | undefined) => iso !== undefined && Date.parse(iso) > nowMs;
  return {
    method: method ?? null,
    modes: { ...modes },
    language: language ?? null,
    pin: pin ? { setAt: pin.setAt, mustChange: pin.mustChange } : null,
    exempt: exempt && isFuture(exempt.until) ? viewExemption(exempt) : null,
    bypass: bypass && isFuture(bypass.expiresAt) ? viewBypass(bypass) : null,
    recoveryCodes: recoveryCodes?.hashes.length ?? 0,
    enrolment: enrolment && isFuture(enrolment.expiresAt) ? viewEnrolment(enrolment) : null,
  };
}

function viewExemption({ reason, at, by, until }: NonNullable<UserDocument['exempt']>) {
  return { reason, at, by, until };
}

function viewBypass({ reason, at, by, expiresAt }: NonNullable<UserDocument['bypass']>) {
  return { reason, at, by, expiresAt };
}

function viewEnrolment({ at, by, expiresAt }: NonNullable<UserDocument['enrolment']>) {
  return { at, by, expiresAt };
}

function viewAuthenticator(authenticator: UserDocument['authenticators'][number]) {
  const phone = authenticator.type === 'phone' ? authenticator : null;
  const token = authenticator.type === 'phone' ? null : authenticator;
  return {
    id: authenticator.id,
    type: authenticator.type,
    name: authenticator.name ?? null,
    algorithm: token?.algorithm ?? null,
    digits: token?.digits ?? null,
    periodSeconds: token?.type === 'totp' ? token.periodSeconds : null,
    serial: token?.serial ?? null,
    manufacturer: token?.manufacturer ?? null,
    model: token?.model ?? null,
    awaitsActivation: token?.awaitsActivation ?? false,
    number: phone?.number ?? null,
    extension: phone?.extension ?? null,
    use: phone?.use ?? null,
    vouchedBy: phone?.vouchedBy ?? null,
    verifiedAt: phone?.verifiedAt ?? null,
    createdAt: authenticator.createdAt,
  };
}
