import { readSettings } from '@countersign/database';
import { hashPin, isPin } from '@countersign/operations';
import { usernameKey, type UserDocument } from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { findOneUser, isRefusal } from './find-one-user.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';
import { pinText, withNewPin } from './set-pin.ts';

export const changePinArgs = z.strictObject({
  username: z.string(),
  pin: pinText,
  newPin: pinText,
});

const WRONG_PIN = refuse(403, 'wrong_pin', 'the PIN is wrong, or there is none to change');
const TOO_MANY_TRIES = refuse(429, 'too_many_tries', 'too many wrong PINs: wait 10 minutes');

/**
 * By users themselves, through whoever verified them: the old PIN is judged here. Who does not exist, has no PIN or
 * may not sign in gets the same answer as who gave a wrong one, and at the same cost.
 */
export async function changePin(
  context: PlanContext,
  { username, pin, newPin }: z.output<typeof changePinArgs>,
): Promise<Plan> {
  const { keys, wrongTries, now } = context;
  const user = await findOneUser(context, username);
  const isStranger = isRefusal(user);
  const subject = isStranger ? usernameKey(username.slice(0, 512)) : user.id;
  const tried = `pin ${subject}`;
  if (wrongTries.isSpent(tried, now.getTime(), { isStranger })) return TOO_MANY_TRIES;
  const isRight = isStranger ? await isNobodysPin(context, pin) : await isPinOf(context, user, pin);
  if (!isRight) {
    wrongTries.add(tried, now.getTime(), { isStranger });
    return WRONG_PIN;
  }
  wrongTries.clear(tried);
  const { settings } = await readSettings(context.db);
  return changeUser(context, username, (found) =>
    withNewPin({ keys, now }, found, { pin: newPin, mustChange: false, settings: settings.pin }),
  );
}

async function isPinOf(context: PlanContext, user: UserDocument, pin: string): Promise<boolean> {
  if (!user.pin) return isNobodysPin(context, pin);
  const isRight = await isPin(context.keys.pin, user.id, pin, user.pin);
  return isRight && maySignIn(user, context.now.getTime());
}

function maySignIn({ enabled, blocked }: UserDocument, nowMs: number): boolean {
  return enabled && !(blocked && Date.parse(blocked.expiresAt) > nowMs);
}

/** Takes as long as a comparison. */
async function isNobodysPin({ keys }: PlanContext, pin: string): Promise<false> {
  await hashPin(keys.pin, 'nobody', pin);
  return false;
}
