import { stopFactsInForce, withStopFacts } from '@countersign/verification';
import { z } from 'zod';
import type { StoredUser, UserDocument } from './ports.ts';
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

/** A user as the API shows it: never with a secret. */
export const userView = z.object({
  id: z.string(),
  username: z.string(),
  displayName: z.string().nullable(),
  email: z.string().nullable(),
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

export function viewUser(user: StoredUser, nowMs: number): UserView {
  const document = withStopFacts(user.document, user.stopFacts, nowMs);
  const isBlocked = document.blocked !== null && Date.parse(document.blocked.expiresAt) > nowMs;
  return {
    id: document.id,
    username: document.username,
    displayName: document.displayName ?? null,
    email: document.email ?? null,
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
