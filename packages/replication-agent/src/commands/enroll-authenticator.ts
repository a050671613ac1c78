import { seal } from '@countersign/keys';
import {
  AUTHENTICATORS_MAX,
  Base32Error,
  checkSecret,
  decodeBase32,
  generateSecret,
  OTP_ALGORITHMS,
  type OathAuthenticator,
} from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { deriveId } from './derive-id.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';
import { seedContext } from '@countersign/operations';

const shared = {
  name: z.string().nullish(),
  algorithm: z.enum(OTP_ALGORITHMS).default('SHA1'),
  digits: z.union([z.literal(6), z.literal(7), z.literal(8)]).default(6),
  /** Base32; left out: 160 random bits. */
  secret: z.string().nullish(),
};

const totpArgs = z.strictObject({
  type: z.literal('totp'),
  ...shared,
  periodSeconds: z.union([z.literal(30), z.literal(60)]).default(30),
});
const hotpArgs = z.strictObject({
  type: z.literal('hotp'),
  ...shared,
  initialCounter: z.number().int().min(0).default(0),
});
export const authenticatorArgs = z.discriminatedUnion('type', [totpArgs, hotpArgs]);

const ofUser = { username: z.string() };
export const enrollAuthenticatorArgs = z.discriminatedUnion('type', [
  totpArgs.extend(ofUser),
  hotpArgs.extend(ofUser),
]);

export async function enrollAuthenticator(
  context: PlanContext,
  args: z.output<typeof enrollAuthenticatorArgs>,
): Promise<Plan> {
  const id = deriveId(context.commandId, 'authenticator');
  const authenticator = newAuthenticator(context, args, id);
  if (!isAuthenticator(authenticator)) return authenticator;
  const plan = await changeUser(
    context,
    args.username,
    (user) =>
      user.authenticators.length >= AUTHENTICATORS_MAX
        ? refuse(409, 'too_many_authenticators', `a user has at most ${AUTHENTICATORS_MAX}`)
        : { ...user, authenticators: [...user.authenticators, authenticator] },
    { id },
  );
  if (plan.kind === 'change') plan.event.details = { authenticator: id, type: args.type };
  return plan;
}

/** With a random secret unless one is given. */
export function newAuthenticator(
  context: Pick<PlanContext, 'seedKey' | 'now'>,
  args: z.output<typeof authenticatorArgs>,
  id: string,
): OathAuthenticator | Refusal {
  const secret = readSecret(args.secret ?? null);
  if (!Buffer.isBuffer(secret)) return secret;
  const common = {
    id,
    ...(args.name && { name: args.name }),
    algorithm: args.algorithm,
    digits: args.digits,
    sealedSecret: seal(context.seedKey, secret, seedContext(id)).toString('base64'),
    createdAt: context.now.toISOString(),
  };
  return args.type === 'totp'
    ? { type: 'totp', ...common, periodSeconds: args.periodSeconds }
    : { type: 'hotp', ...common, initialCounter: args.initialCounter };
}

export function isAuthenticator(value: OathAuthenticator | Refusal): value is OathAuthenticator {
  return 'sealedSecret' in value;
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
