import type { Command } from '@countersign/cluster';
import { findUserById, type Database } from '@countersign/database';
import { open, type PurposeKey } from '@countersign/keys';
import { seedContext } from '@countersign/operations';
import { otpauthUri, type OathAuthenticator, type UserDocument } from '@countersign/verification';

export const OTPAUTH_ISSUER = 'Countersign';

/**
 * The otpauth URI of a new authenticator is made from the stored document for the first answer and for every
 * repeat, so no secret is stored with a command's result.
 */
export async function describeResult(
  options: { db: Database; seedKey: PurposeKey },
  command: Pick<Command, 'name'>,
  result: Record<string, unknown>,
): Promise<Record<string, unknown>> {
  if (command.name !== 'authenticator.enroll') return result;
  const user = await findUserById(options.db, String(result.userId));
  const authenticator = user?.authenticators.find((one) => one.id === result.id);
  if (!user || !authenticator || authenticator.type === 'phone') return result;
  return { ...result, otpauth: otpauthOf(options.seedKey, user, authenticator) };
}

/** With the secret in the clear: for whoever enrols it, never stored. */
export function otpauthOf(
  seedKey: PurposeKey,
  user: UserDocument,
  authenticator: OathAuthenticator,
): string {
  const sealed = Buffer.from(authenticator.sealedSecret, 'base64');
  const secret = open(seedKey, sealed, seedContext(authenticator.id));
  const { algorithm, digits } = authenticator;
  const common = { issuer: OTPAUTH_ISSUER, account: user.username, secret, algorithm, digits };
  return authenticator.type === 'totp'
    ? otpauthUri({ ...common, type: 'totp', periodSeconds: authenticator.periodSeconds })
    : otpauthUri({ ...common, type: 'hotp', initialCounter: authenticator.initialCounter });
}
