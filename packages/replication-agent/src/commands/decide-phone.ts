import type { DirectoryLink, UserDocument } from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const decidePhoneArgs = z.strictObject({
  username: z.string().max(512),
  /** The phone that has verified. */
  phone: z.string().max(64),
  /** The number that was looked at. */
  number: z.string().max(32).optional(),
});
type Args = z.output<typeof decidePhoneArgs>;
type Pending = NonNullable<DirectoryLink['pendingPhones']>[number];

/** A number of the directory takes the place of one that has verified, 24 hours from now (security rule 4). */
export async function approvePhone(context: PlanContext, args: Args): Promise<Plan> {
  const decided = { at: context.now.toISOString(), by: context.actor };
  return decidePhone(context, args, ({ rejected: _before, ...pending }) => {
    return pending.approved ? pending : { ...pending, approved: decided };
  });
}

/** It does not, and is not asked about again while the directory has this number. */
export async function rejectPhone(context: PlanContext, args: Args): Promise<Plan> {
  const decided = { at: context.now.toISOString(), by: context.actor };
  return decidePhone(context, args, ({ approved: _before, ...pending }) => {
    return pending.rejected ? pending : { ...pending, rejected: decided };
  });
}

async function decidePhone(
  context: PlanContext,
  { username, phone, number }: Args,
  decide: (pending: Pending) => Pending,
): Promise<Plan> {
  let ending: string | undefined;
  const plan = await changeUser(context, username, (user) => {
    const found = user.directory?.pendingPhones?.find((one) => one.phone === phone);
    if (!found) return refuse(404, 'unknown_approval', 'no number waits for this phone');
    if (number !== undefined && found.number !== number) {
      return refuse(409, 'approval_changed', 'the directory has another number by now');
    }
    ending = found.number.slice(-2);
    return withPending(user, found, decide(found));
  });
  if (plan.kind === 'change') plan.event.details = { authenticator: phone, ending };
  return plan;
}

function withPending(user: UserDocument, found: Pending, decided: Pending): UserDocument {
  const link = user.directory!;
  const pendingPhones = link.pendingPhones!.map((one) => (one === found ? decided : one));
  return { ...user, directory: { ...link, pendingPhones } };
}
