import { readSettings } from '@countersign/database';
import { hashPin, isPin } from '@countersign/operations';
import {
  checkNewPin,
  type PinHash,
  type Settings,
  type UserDocument,
} from '@countersign/verification';
import { z } from 'zod';
import { newInitialPin } from '../new-secrets.ts';
import { changeUser } from './change-user.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

/** Looked at again by the rules for PINs, whose words are for people. */
export const pinText = z.string().max(64);

export const setPinArgs = z.strictObject({
  username: z.string(),
  pin: pinText.nullish(),
  mustChange: z.boolean().default(true),
  /** The master makes the PIN, and only its user's mail tells it. */
  mail: z.boolean().default(false),
});

/** By an administrator, and so to be changed at its first use unless that is not wanted. */
export async function setPin(
  context: PlanContext,
  { username, pin, mustChange, mail }: z.output<typeof setPinArgs>,
): Promise<Plan> {
  const { settings } = await readSettings(context.db);
  if (mail) return mailNewPin(context, username, settings);
  if (pin == null) return refuse(400, 'invalid_request', 'pin: is missing');
  const plan = await changeUser(context, username, (user) =>
    withNewPin(context, user, { pin, mustChange, settings: settings.pin }),
  );
  if (plan.kind === 'change') plan.event.details = { mustChange };
  return plan;
}

/**
 * Stored like any other PIN: the mail makes it again from the command's id, under a key that only agents have, for as
 * long as it is in force.
 */
async function mailNewPin(
  context: PlanContext,
  username: string,
  settings: Settings,
): Promise<Plan> {
  const { keys, commandId, now } = context;
  if (!settings.mail.pinMails || !settings.mail.toUsers) {
    return refuse(
      409,
      'pin_mails_off',
      'PINs are mailed only where mail.pinMails and mail.toUsers are true',
    );
  }
  const digits = settings.pin.minLength;
  const pin = newInitialPin(keys['new-secret'], { commandId, at: now.toISOString() }, digits);
  const plan = await changeUser(context, username, (user) =>
    user.email === undefined
      ? refuse(409, 'no_mail_address', `${user.username} has no mail address`)
      : withNewPin(context, user, { pin, mustChange: true, settings: settings.pin }),
  );
  const details = { mustChange: true, mailed: digits, command: commandId };
  if (plan.kind === 'change') plan.event.details = details;
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
