import { seal } from '@countersign/keys';
import {
  Base32Error,
  checkSecret,
  decodeBase32,
  generateSecret,
  OTP_ALGORITHMS,
  type Authenticator,
} from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { deriveId } from './derive-id.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';
import { seedContext } from '@countersign/operations';

const shared = {
  username: z.string(),
  name: z.string().nullish(),
  algorithm: z.enum(OTP_ALGORITHMS).default('SHA1'),
  digits: z.union([z.literal(6), z.literal(7), z.literal(8)]).default(6),
  /** Base32; left out: 160 random bits. */
  secret: z.string().nullish(),
};

export const enrollAuthenticatorArgs = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('totp'),
    ...shared,
    periodSeconds: z.union([z.literal(30), z.literal(60)]).default(30),
  }),
  z.strictObject({
    type: z.literal('hotp'),
    ...shared,
    initialCounter: z.number().int().min(0).default(0),
  }),
]);

const MAX_AUTHENTICATORS = 20;

export async function enrollAuthenticator(
  context: PlanContext,
  args: z.output<typeof enrollAuthenticatorArgs>,
): Promise<Plan> {
  const secret = readSecret(args.secret ?? null);
  if (!Buffer.isBuffer(secret)) return secret;
  const id = deriveId(context.commandId, 'authenticator');
  const sealedSecret = seal(context.seedKey, secret, seedContext(id)).toString('base64');
  const common = {
    id,
    ...(args.name && { name: args.name }),
    algorithm: args.algorithm,
    digits: args.digits,
    sealedSecret,
    createdAt: context.now.toISOString(),
  };
  const authenticator: Authenticator =
    args.type === 'totp'
      ? { type: 'totp', ...common, periodSeconds: args.periodSeconds }
      : { type: 'hotp', ...common, initialCounter: args.initialCounter };
  const plan = await changeUser(
    context,
    args.username,
    (user) =>
      user.authenticators.length >= MAX_AUTHENTICATORS
        ? refuse(409, 'too_many_authenticators', `a user has at most ${MAX_AUTHENTICATORS}`)
        : { ...user, authenticators: [...user.authenticators, authenticator] },
    { id },
  );
  if (plan.kind === 'change') plan.event.details = { authenticator: id, type: args.type };
  return plan;
}

function readSecret(given: string | null): Buffer | Refusal {
  if (given === null) return generateSecret();
  try {
    const secret = decodeBase32(given);
    const problem = checkSecret(secret);
    return problem ? refuse(400, 'invalid_request', `secret: ${problem}`) : secret;
  } catch (error) {
    if (error instanceof Base32Error) {
      return refuse(400, 'invalid_request', `secret: ${error.message}`);
    }
    throw error;
  }
}
