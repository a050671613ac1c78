import { readSettings } from '@countersign/database';
import { hashPin, isPin } from '@countersign/operations';
import {
  checkNewPin,
  type PinHash,
  type Settings,
  type UserDocument,
} from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

/** Looked at again by the rules for PINs, whose words are for people. */
export const pinText = z.string().max(64);

export const setPinArgs = z.strictObject({
  username: z.string(),
  pin: pinText,
  mustChange: z.boolean().default(true),
});

/** By an administrator, and so to be changed at its first use unless that is not wanted. */
export async function setPin(
  context: PlanContext,
  { username, pin, mustChange }: z.output<typeof setPinArgs>,
): Promise<Plan> {
  const { settings } = await readSettings(context.db);
  const plan = await changeUser(context, username, (user) =>
    withNewPin(context, user, { pin, mustChange, settings: settings.pin }),
  );
  if (plan.kind === 'change') plan.event.details = { mustChange };
  return plan;
}

export const removePinArgs = z.strictObject({ username: z.string() });

export async function removePin(
  context: PlanContext,
  { username }: z.output<typeof removePinArgs>,
): Promise<Plan> {
  return changeUser(context, username, ({ pin: _removed, ...user }) => user);
}

/** The user with that PIN, or why it may not be chosen. Each earlier PIN costs one argon2, off the event loop. */
export async function withNewPin(
  { keys, now }: Pick<PlanContext, 'keys' | 'now'>,
  user: UserDocument,
  wish: { pin: string; mustChange: boolean; settings: Settings['pin'] },
): Promise<UserDocument | Refusal> {
  const { pin, mustChange, settings } = wish;
  const flaw = checkNewPin(pin, settings);
  if (flaw) return refuse(400, 'invalid_pin', flaw);
  const earlier = earlierPins(user).slice(0, settings.history);
  for (const one of earlier) {
    if (!(await isPin(keys.pin, user.id, pin, one))) continue;
    return refuse(400, 'invalid_pin', 'this PIN was used before');
  }
  return {
    ...user,
    pin: {
      ...(await hashPin(keys.pin, user.id, pin)),
      setAt: now.toISOString(),
      mustChange,
      history: earlier,
    },
  };
}

/** Newest first, the one in force among them. */
function earlierPins({ pin }: UserDocument): PinHash[] {
  return pin ? [{ salt: pin.salt, hash: pin.hash }, ...pin.history] : [];
}
