import { findKnownTokens } from '@countersign/database';
import { seal, type PurposeKey } from '@countersign/keys';
import { seedContext, seedFingerprint, seedFingerprints } from '@countersign/operations';
import {
  AUTHENTICATORS_MAX,
  Base32Error,
  checkSecret,
  decodeBase32,
  generateSecret,
  OATH_TOKENS_MAX,
  OTP_ALGORITHMS,
  PHONES_MAX,
  type Authenticator,
  type UserDocument,
} from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { deriveId } from './derive-id.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

const shared = {
  name: z.string().nullish(),
  algorithm: z.enum(OTP_ALGORITHMS).default('SHA1'),
  digits: z.union([z.literal(6), z.literal(7), z.literal(8)]).default(6),
  /** Base32; left out: 160 random bits. */
  secret: z.string().nullish(),
  serial: z.string().nullish(),
  manufacturer: z.string().nullish(),
  model: z.string().nullish(),
  /** It verifies nobody before a code of it was given. */
  awaitsActivation: z.boolean().default(false),
};

export const totpArgs = z.strictObject({
  type: z.literal('totp'),
  ...shared,
  periodSeconds: z.union([z.literal(30), z.literal(60)]).default(30),
});
export const hotpArgs = z.strictObject({
  type: z.literal('hotp'),
  ...shared,
  initialCounter: z.number().int().min(0).default(0),
});
export const phoneArgs = z.strictObject({
  type: z.literal('phone'),
  name: z.string().nullish(),
  number: z.string().max(64),
  extension: z.string().nullish(),
  use: z.enum(['primary', 'backup']).default('primary'),
});
export const authenticatorArgs = z.discriminatedUnion('type', [totpArgs, hotpArgs, phoneArgs]);
type AuthenticatorArgs = z.output<typeof authenticatorArgs>;

const ofUser = { username: z.string() };
export const enrollAuthenticatorArgs = z.discriminatedUnion('type', [
  totpArgs.extend(ofUser),
  hotpArgs.extend(ofUser),
  phoneArgs.extend(ofUser),
]);

/** By an administrator, who vouches for a phone. */
export async function enrollAuthenticator(
  context: PlanContext,
  { username, ...args }: z.output<typeof enrollAuthenticatorArgs>,
): Promise<Plan> {
  const id = deriveId(context.commandId, 'authenticator');
  const authenticator = newAuthenticator(context, args, { id, vouchedBy: context.actor });
  if (!isAuthenticator(authenticator)) return authenticator;
  const twins = await refuseTwins(context, [authenticator], args);
  if (twins) return twins;
  const add = (user: UserDocument) => withAuthenticator(user, authenticator);
  const plan = await changeUser(context, username, add, { id });
  if (plan.kind === 'change') plan.event.details = { authenticator: id, type: args.type };
  return plan;
}

/** With a random secret unless one is given. */
export function newAuthenticator(
  { keys, now }: Pick<PlanContext, 'keys' | 'now'>,
  args: AuthenticatorArgs,
  { id, vouchedBy }: { id: string; vouchedBy: string },
): Authenticator | Refusal {
  const common = { id, ...(args.name && { name: args.name }), createdAt: now.toISOString() };
  if (args.type === 'phone') return newPhone(args, { ...common, vouchedBy });
  const secret = readSecret(args.secret ?? null);
  if (!Buffer.isBuffer(secret)) return secret;
  const token = {
    ...common,
    algorithm: args.algorithm,
    digits: args.digits,
    sealedSecret: seal(keys.seed, secret, seedContext(id)).toString('base64'),
    fingerprint: seedFingerprint(keys.seed, secret),
    ...(args.serial && { serial: args.serial.trim() }),
    ...(args.manufacturer && { manufacturer: args.manufacturer }),
    ...(args.model && { model: args.model }),
    ...(args.awaitsActivation && { awaitsActivation: true as const }),
  };
  return args.type === 'totp'
    ? { type: 'totp', ...token, periodSeconds: args.periodSeconds }
    : { type: 'hotp', ...token, initialCounter: args.initialCounter };
}

function newPhone(
  args: Extract<AuthenticatorArgs, { type: 'phone' }>,
  common: { id: string; name?: string; createdAt: string; vouchedBy: string },
): Authenticator | Refusal {
  const number = args.number.replace(/[\s.()/-]/g, '');
  if (!/^\+[1-9]\d{6,14}$/.test(number)) {
    const detail = 'number: a number in full is wanted, like +31 6 1234 5678';
    return refuse(400, 'invalid_request', detail);
  }
  const { extension, use } = args;
  return {
    type: 'phone',
    ...common,
    number,
    ...(extension && { extension }),
    use,
    verifiedAt: null,
  };
}

export function isAuthenticator(value: Authenticator | Refusal): value is Authenticator {
  return 'type' in value;
}

/** The user with one more authenticator, if there is room for it. */
export function withAuthenticator(
  user: UserDocument,
  authenticator: Authenticator,
): UserDocument | Refusal {
  const authenticators = [...user.authenticators, authenticator];
  return tooMany(authenticators) ?? { ...user, authenticators };
}

export function tooMany(authenticators: readonly Authenticator[]): Refusal | null {
  const phones = authenticators.filter(({ type }) => type === 'phone').length;
  const refuseMore = (most: string) =>
    refuse(409, 'too_many_authenticators', `a user has at most ${most}`);
  if (phones > PHONES_MAX) return refuseMore(`${PHONES_MAX} phones`);
  if (authenticators.length - phones > OATH_TOKENS_MAX) {
    return refuseMore(`${OATH_TOKENS_MAX} OATH tokens`);
  }
  return authenticators.length > AUTHENTICATORS_MAX ? refuseMore(`${AUTHENTICATORS_MAX}`) : null;
}

/** A serial number or secret that any user has already (rule 27). It tells neither whose nor which of the two. */
export const DUPLICATE_TOKEN = refuse(
  409,
  'duplicate_token',
  'a token with this serial number or secret is enrolled already',
);

/** What could be known already of new tokens, in lower case: secrets made here cannot. */
export function marksOf(
  seedKey: PurposeKey,
  authenticators: readonly Authenticator[],
  args: readonly object[],
): { serials: string[]; fingerprints: string[] } {
  const serials: string[] = [];
  const fingerprints: string[] = [];
  for (const [index, one] of authenticators.entries()) {
    if (one.type === 'phone') continue;
    if (one.serial) serials.push(one.serial.toLowerCase());
    const asked = args[index] ?? {};
    if (!('secret' in asked) || typeof asked.secret !== 'string') continue;
    fingerprints.push(...seedFingerprints(seedKey, decodeBase32(asked.secret)));
  }
  return { serials, fingerprints };
}

export async function refuseTwins(
  { db, keys }: Pick<PlanContext, 'db' | 'keys'>,
  authenticators: readonly Authenticator[],
  ...args: object[]
): Promise<Refusal | null> {
  const marks = marksOf(keys.seed, authenticators, args);
  const all = [...marks.serials, ...marks.fingerprints];
  if (new Set(all).size < all.length) return DUPLICATE_TOKEN;
  return (await findKnownTokens(db, marks)).size > 0 ? DUPLICATE_TOKEN : null;
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
