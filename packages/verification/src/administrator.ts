import { z } from 'zod';
import { id, instant, name, username } from './document-fields.ts';
import { OTP_ALGORITHMS } from './otp.ts';

export const ROLES = ['owner', 'administrator', 'helpdesk', 'auditor'] as const;
export type Role = (typeof ROLES)[number];

/** Shorter ones are refused. */
export const PASSWORD_LENGTH_MIN = 12;
export const PASSWORD_LENGTH_MAX = 256;
export const SESSION_HOURS = 8;
/** A session that nobody uses for so long is over. */
export const SESSION_IDLE_MINUTES = 30;
/** How old the second factor may be where a fresh one is demanded (security rule 17). */
export const FRESH_MINUTES = 10;
export const INVITATION_HOURS = 24;
/** Listed as a whole. */
export const ADMINISTRATORS_MAX = 200;

/** Somebody who runs the cluster. Nobody whom a directory knows becomes one by it. */
export const administratorDocument = z
  .strictObject({
    id,
    username,
    displayName: name.optional(),
    mail: name.optional(),
    roles: z
      .array(z.enum(ROLES))
      .min(1)
      .max(ROLES.length)
      .refine((all) => new Set(all).size === all.length, 'roles must differ'),
    disabled: z.boolean(),
    /** What they sign in with; missing until an invitation is accepted. */
    credentials: z
      .strictObject({
        /** Argon2id of the password's HMAC under the cluster's key. */
        password: z.strictObject({
          salt: z.base64().length(24),
          hash: z.base64().length(44),
        }),
        totp: z.strictObject({
          id,
          algorithm: z.enum(OTP_ALGORITHMS),
          digits: z.union([z.literal(6), z.literal(8)]),
          periodSeconds: z.literal(30),
          /** Sealed for this authenticator's id: worth nothing in another document. */
          sealedSecret: z.base64().min(4).max(256),
          /** The step of the code that proved it. */
          usedUpTo: z.int().min(0),
        }),
        since: instant,
      })
      .optional(),
    /** Whoever has the code sets password and authenticator, once. */
    invitation: z
      .strictObject({
        codeHash: z.string().regex(/^[0-9a-f]{64}$/),
        at: instant,
        by: name,
        expiresAt: instant,
      })
      .optional(),
    /** Sessions made before it are over. */
    sessionsSince: instant.optional(),
    /** Lockouts and failures before it are void. */
    unlockedAt: instant.nullable(),
    createdAt: instant,
    updatedAt: instant,
  })
  .refine(
    ({ credentials, invitation, disabled }) => disabled || credentials || invitation,
    'has neither credentials nor an invitation',
  );
export type AdministratorDocument = z.infer<typeof administratorDocument>;

export type AdministratorState = 'disabled' | 'invited' | 'active';

export function administratorState(
  administrator: Pick<AdministratorDocument, 'disabled' | 'credentials'>,
): AdministratorState {
  if (administrator.disabled) return 'disabled';
  return administrator.credentials ? 'active' : 'invited';
}

/** Why this cannot be somebody's password, in words; null: it can. */
export function checkNewPassword(password: string, username: string): string | null {
  // By bytes a passphrase of another script would be long enough too soon.
  const { length } = Array.from(password);
  if (length < PASSWORD_LENGTH_MIN) {
    return `a password has at least ${PASSWORD_LENGTH_MIN} characters`;
  }
  if (length > PASSWORD_LENGTH_MAX) {
    return `a password has at most ${PASSWORD_LENGTH_MAX} characters`;
  }
  if (new Set(password).size < 4) return 'a password has at least 4 different characters';
  const [folded, name] = [password.toLowerCase(), username.toLowerCase()];
  // `admin` may well be part of a good one; nothing but it, over and over, may not.
  if (folded.replaceAll(name, '').length < PASSWORD_LENGTH_MIN / 2) {
    return 'a password is not the username';
  }
  return null;
}

/** Whether nobody would be left who may do everything. The first one is still to accept an invitation. */
export function isLastOwner(
  administrators: readonly AdministratorDocument[],
  administratorId: string,
): boolean {
  const owners = administrators.filter((one) => one.roles.includes('owner') && !one.disabled);
  const active = owners.filter(({ credentials }) => credentials);
  const counting = active.length > 0 ? active : owners;
  return counting.length === 1 && counting[0]!.id === administratorId;
}
