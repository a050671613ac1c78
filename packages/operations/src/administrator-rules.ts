import { listStandingAdministrators, type Database } from '@countersign/database';
import {
  FRESH_MINUTES,
  rightsOf,
  usernameKey,
  type AdministratorDocument,
  type Right,
  type Role,
} from '@countersign/verification';

export type Refusal = { kind: 'refused'; status: number; code: string; detail: string };

/** Whoever has the name, and everybody whom no stop fact removed. */
export async function findAdministrators(
  db: Database,
  username: string,
): Promise<{ named: AdministratorDocument | null; all: AdministratorDocument[] }> {
  const all = await listStandingAdministrators(db);
  const named = all.find((one) => usernameKey(one.username) === usernameKey(username));
  return { named: named ?? null, all };
}

/**
 * Nobody grants rights they lack or acts on a holder of rights they lack, and nobody's own account is theirs to change:
 * a stolen session would make itself at home with it (security rule 17). `granted`: what roles are to be given.
 */
export function overreachOf(
  own: { scopes: readonly Right[]; administratorId?: string | undefined },
  { target, granted = [] }: { target: AdministratorDocument | null; granted?: readonly Role[] },
): Refusal | null {
  if (target && target.id === own.administratorId) {
    return refused(403, 'own_account', 'nobody changes their own account: ask another owner');
  }
  const lacking = (roles: readonly Role[]) =>
    rightsOf(roles).find((right) => !own.scopes.includes(right));
  const held = lacking(target?.roles ?? []);
  if (held) return refused(403, 'forbidden', `${target!.username} has a right you lack: ${held}`);
  const given = lacking(granted);
  return given ? refused(403, 'forbidden', `nobody grants what they lack: ${given}`) : null;
}

export const UNKNOWN_ADMINISTRATOR = refused(
  404,
  'unknown_administrator',
  'there is no such administrator',
);

export const LAST_OWNER = refused(
  409,
  'last_owner',
  'this is the last owner: without one only the local socket of a node can make administrators',
);

const STALE_FACTOR = refused(
  403,
  'second_factor_too_old',
  `this needs a second factor of the last ${FRESH_MINUTES} minutes: countersign step-up`,
);

const NO_REASON = refused(400, 'reason_required', 'this needs a reason: --why TEXT');

/** What a session lacks for a command that needs a fresh second factor and a reason; times are Unix ms. */
export function lackOfFactor(
  { secondFactorAt, reason }: { secondFactorAt: number; reason: string | null },
  nowMs: number,
): Refusal | null {
  if (Math.abs(nowMs - secondFactorAt) > FRESH_MINUTES * 60_000) return STALE_FACTOR;
  return reason ? null : NO_REASON;
}

export function refused(status: number, code: string, detail: string): Refusal {
  return { kind: 'refused', status, code, detail };
}
