import { findUsersByName } from '@countersign/database';
import { open } from '@countersign/keys';
import { seedContext } from '@countersign/operations';
import {
  codesEqual,
  findHotpCounter,
  hotp,
  otpKey,
  totpStep,
  type OathAuthenticator,
  type UserDocument,
} from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

/** A button that was pressed in a pocket on its way to the user. */
const HOTP_LOOK_AHEAD = 50;

const code = z.string().max(32);

export const activateAuthenticatorArgs = z.strictObject({
  username: z.string(),
  id: z.string(),
  code,
});

/** A current code proves that the token is in the user's hands; that code and those before it are used up. */
export async function activateAuthenticator(
  context: PlanContext,
  args: z.output<typeof activateAuthenticatorArgs>,
): Promise<Plan> {
  return proveToken(context, args, (token) => {
    if (!token.awaitsActivation) {
      return refuse(409, 'already_activated', 'this authenticator verifies already');
    }
    const { secret, next } = openToken(context, token, -1);
    const given = plain(args.code);
    const key = otpKey(secret);
    // All are made and compared, wherever the right one is.
    const found = positionsOf(token, next, context.now).filter((position) =>
      codesEqual(hotp(key, position, token), given),
    );
    return found[0] ?? null;
  });
}

export const resynchroniseAuthenticatorArgs = z.strictObject({
  username: z.string(),
  id: z.string(),
  codes: z.array(code).min(2).max(3),
});

/** Two or three codes in a row find a HOTP token's counter again, up to 1,000 ahead; they are used up by that. */
export async function resynchroniseAuthenticator(
  context: PlanContext,
  args: z.output<typeof resynchroniseAuthenticatorArgs>,
): Promise<Plan> {
  const accepted = await acceptedOf(context, args);
  return proveToken(context, args, (token) => {
    if (token.type !== 'hotp') {
      return refuse(409, 'not_hotp', 'only a token of type hotp counts its codes');
    }
    const { secret, next } = openToken(context, token, accepted);
    const codes = args.codes.map(plain);
    const search = { secret, parameters: token, codes, nextCounter: next };
    return findHotpCounter(search)?.lastCounter ?? null;
  });
}

/**
 * `judge` finds the position of the last code, or null where the codes are wrong: at most 5 times for a user within 10
 * minutes.
 */
async function proveToken(
  context: PlanContext,
  { username, id }: { username: string; id: string },
  judge: (token: OathAuthenticator) => number | null | Refusal,
): Promise<Plan> {
  const { wrongTries, now } = context;
  const plan = await changeUser(
    context,
    username,
    (user) => {
      const token = user.authenticators.find((one) => one.id === id);
      if (!token || token.type === 'phone') {
        return refuse(404, 'unknown_authenticator', `${user.username} has no token ${id}`);
      }
      const tried = `token ${user.id}`;
      if (wrongTries.isSpent(tried, now.getTime())) return TOO_MANY_TRIES;
      const found = judge(token);
      if (found === null) {
        wrongTries.add(tried, now.getTime());
        return WRONG_CODE;
      }
      if (typeof found !== 'number') return found;
      wrongTries.clear(tried);
      return withToken(user, provenAt(token, found));
    },
    { id },
  );
  if (plan.kind === 'change') plan.event.details = { authenticator: id };
  return plan;
}

const WRONG_CODE = refuse(403, 'wrong_code', 'the code is wrong');
const TOO_MANY_TRIES = refuse(429, 'too_many_tries', 'too many wrong codes: wait 10 minutes');

function provenAt(
  { awaitsActivation: _proven, ...token }: OathAuthenticator,
  position: number,
): OathAuthenticator {
  const proven = { ...token, usedUpTo: position };
  return proven.type === 'hotp' ? { ...proven, initialCounter: position + 1 } : proven;
}

function withToken(user: UserDocument, token: OathAuthenticator): UserDocument {
  const authenticators = user.authenticators.map((one) => (one.id === token.id ? token : one));
  return { ...user, authenticators };
}

function openToken({ keys }: PlanContext, token: OathAuthenticator, accepted: number) {
  const sealed = Buffer.from(token.sealedSecret, 'base64');
  const secret = open(keys.seed, sealed, seedContext(token.id));
  const initial = token.type === 'hotp' ? token.initialCounter : 0;
  return { secret, next: Math.max(initial, (token.usedUpTo ?? -1) + 1, accepted + 1) };
}

function positionsOf(token: OathAuthenticator, next: number, now: Date): number[] {
  if (token.type === 'hotp') return Array.from({ length: HOTP_LOOK_AHEAD }, (_, i) => next + i);
  const step = totpStep(now.getTime(), token.periodSeconds);
  return [step - 1, step, step + 1].filter((one) => one >= next);
}

/** The last counter that any node accepted, as far as this one has heard; -1: none. */
async function acceptedOf(
  { db }: PlanContext,
  { username, id }: { username: string; id: string },
): Promise<number> {
  const [user] = await findUsersByName(db, username);
  return user?.state?.accepted[id]?.[0] ?? -1;
}

function plain(text: string): string {
  return text.replace(/\s/g, '');
}
