import { listAdministrators } from '@countersign/database';
import { seal } from '@countersign/keys';
import { hashPassword, seedContext } from '@countersign/operations';
import {
  Base32Error,
  checkNewPassword,
  codesEqual,
  decodeBase32,
  hotp,
  otpKey,
  totpStep,
  type AdministratorDocument,
} from '@countersign/verification';
import { z } from 'zod';
import { changeOf } from './administrator-rules.ts';
import { deriveId } from './derive-id.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

export const acceptInvitationArgs = z.strictObject({
  password: z.string().max(1024),
  /** Base32: made where the authenticator was set up. */
  secret: z.string().max(128),
  /** What the authenticator shows now. */
  code: z.string().max(32),
});

const SECRET_MIN_BYTES = 20;
const TOTP = { algorithm: 'SHA1', digits: 6, periodSeconds: 30 } as const;

/** Sets password and authenticator of whoever was invited, and uses the invitation up. */
export async function acceptInvitation(
  context: PlanContext,
  { password, secret, code }: z.output<typeof acceptInvitationArgs>,
): Promise<Plan> {
  const found = await listAdministrators(context.db);
  const invited = found.find(({ document }) => document.id === context.administratorId)?.document;
  // Authorised a moment ago, and nothing else is under way meanwhile.
  if (!invited) return refuse(401, 'invalid_invitation', 'the invitation is over');
  const flaw = checkNewPassword(password, invited.username);
  if (flaw) return refuse(400, 'invalid_password', flaw);
  const totp = newTotp(context, secret, code);
  if ('kind' in totp) return totp;
  const at = context.now.toISOString();
  const { invitation: _usedUp, ...rest } = invited;
  const content: AdministratorDocument = {
    ...rest,
    credentials: {
      password: await hashPassword(context.keys.pin, invited.id, password),
      totp,
      since: at,
    },
    // Who was locked out starts afresh.
    unlockedAt: at,
    updatedAt: at,
  };
  return changeOf(content, {});
}

/** Proven by a code that is not good a second time. */
function newTotp(
  { keys, commandId, wrongTries, administratorId, now }: PlanContext,
  secretText: string,
  code: string,
): NonNullable<AdministratorDocument['credentials']>['totp'] | Refusal {
  const secret = decoded(secretText);
  if (!secret || secret.length < SECRET_MIN_BYTES) {
    return refuse(400, 'invalid_secret', `secret: must be base32 of ${SECRET_MIN_BYTES} bytes`);
  }
  const tried = `invitation ${administratorId}`;
  if (wrongTries.isSpent(tried, now.getTime())) {
    return refuse(429, 'too_many_tries', 'too many wrong codes: wait 10 minutes');
  }
  const step = totpStep(now.getTime(), TOTP.periodSeconds);
  const key = otpKey(secret);
  const given = code.replace(/\s/g, '');
  const [proven] = [step - 1, step, step + 1].filter((one) =>
    codesEqual(hotp(key, one, TOTP), given),
  );
  if (proven === undefined) {
    wrongTries.add(tried, now.getTime());
    return refuse(403, 'wrong_code', 'the code is wrong');
  }
  wrongTries.clear(tried);
  const id = deriveId(commandId, 'administrator authenticator');
  const sealedSecret = seal(keys.seed, secret, seedContext(id)).toString('base64');
  return { id, ...TOTP, sealedSecret, usedUpTo: proven };
}

function decoded(text: string): Buffer | null {
  try {
    return decodeBase32(text);
  } catch (error) {
    if (error instanceof Base32Error) return null;
    throw error;
  }
}
