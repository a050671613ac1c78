import { timingSafeEqual } from 'node:crypto';
import { readApplied } from '@countersign/database';
import { spareCodeHash } from '@countersign/operations';
import type { UserDocument } from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { deriveId } from './derive-id.ts';
import {
  hotpArgs,
  isAuthenticator,
  newAuthenticator,
  phoneArgs,
  refuseTwins,
  totpArgs,
  withAuthenticator,
} from './enroll-authenticator.ts';
import { findOneUser, isRefusal } from './find-one-user.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

const byCode = { username: z.string(), enrolmentCode: z.string().max(128) };
export const enrollWithCodeArgs = z.discriminatedUnion('type', [
  totpArgs.extend(byCode),
  hotpArgs.extend(byCode),
  phoneArgs.extend(byCode),
]);

/** One answer for whoever has no right to enrol: nobody learns who exists, or how wrong a code is. */
const REFUSED = refuse(403, 'enrolment_refused', 'no such user with this enrolment code');

/** The code is spent by the change that adds the authenticator. Whoever gave it out vouches for the phone. */
export async function enrollWithCode(
  context: PlanContext,
  { enrolmentCode, username, ...args }: z.output<typeof enrollWithCodeArgs>,
): Promise<Plan> {
  const found = await findOneUser(context, username);
  const user = isRefusal(found) ? null : found;
  const applied = await readApplied(context.db);
  const disasterAtMs = Date.parse(applied?.incarnation.disasterAt ?? '');
  const mayDo = mayEnroll(context, user, { code: enrolmentCode, disasterAtMs });
  if (!mayDo || !user?.enrolment) return REFUSED;
  const id = deriveId(context.commandId, 'authenticator');
  const authenticator = newAuthenticator(context, args, { id, vouchedBy: user.enrolment.by });
  if (!isAuthenticator(authenticator)) return authenticator;
  const twins = await refuseTwins(context, [authenticator], args);
  if (twins) return twins;
  const plan = await changeUser(
    context,
    username,
    ({ enrolment: _spent, ...unspent }) => withAuthenticator(unspent, authenticator),
    { id },
  );
  if (plan.kind === 'change') plan.event.details = { authenticator: id, type: args.type };
  return plan;
}

function mayEnroll(
  { keys, now }: PlanContext,
  user: UserDocument | null,
  { code, disasterAtMs }: { code: string; disasterAtMs: number },
): boolean {
  const nowMs = now.getTime();
  // Made for nobody too, so that it takes as long.
  const given = spareCodeHash(keys['spare-code'], 'enrolment', user?.id ?? 'nobody', code);
  const expected = user?.enrolment?.codeHash ?? '0'.repeat(given.length);
  const isRight = timingSafeEqual(Buffer.from(given), Buffer.from(expected));
  if (!user?.enrolment || !isRight) return false;
  // Whether it was spent before a disaster nobody knows (rule 30).
  if (Date.parse(user.enrolment.at) <= disasterAtMs) return false;
  const isBlocked = user.blocked !== null && Date.parse(user.blocked.expiresAt) > nowMs;
  return user.enabled && !isBlocked && Date.parse(user.enrolment.expiresAt) > nowMs;
}
