import type { Command } from '@countersign/cluster';
import { findUserById, listApiKeys, type Database } from '@countersign/database';
import { open, type PurposeKey } from '@countersign/keys';
import { hashApiKey, seedContext, spareCodeHash } from '@countersign/operations';
import { otpauthUri, type OathAuthenticator, type UserDocument } from '@countersign/verification';
import type { CommandKeys } from './commands/plan.ts';
import { newApiKey, newEnrolmentCode, newRecoveryCodes } from './new-secrets.ts';

export const OTPAUTH_ISSUER = 'Countersign';

type Options = { db: Database; keys: CommandKeys };
type Result = Record<string, unknown>;

/**
 * What is shown once is made again from the command's id or the stored document, for the first answer and for every
 * repeat, so no secret is stored with a command's result. What was replaced meanwhile is not shown any more.
 */
export async function describeResult(
  options: Options,
  command: Pick<Command, 'name' | 'commandId'>,
  result: Result,
): Promise<Result> {
  switch (command.name) {
    case 'authenticator.enroll':
    case 'authenticator.enroll-with-code':
      return describeEnrolment(options, result);
    case 'user.make-recovery-codes':
      return describeRecoveryCodes(options, command, result);
    case 'user.make-enrolment-code':
      return describeEnrolmentCode(options, command, result);
    case 'api-key.add':
      return describeApiKey(options, command, result);
    default:
      return result;
  }
}

async function describeEnrolment({ db, keys }: Options, result: Result): Promise<Result> {
  const user = await findUserById(db, String(result.userId));
  const authenticator = user?.authenticators.find((one) => one.id === result.id);
  if (!user || !authenticator || authenticator.type === 'phone') return result;
  return { ...result, otpauth: otpauthOf(keys.seed, user, authenticator) };
}

async function describeRecoveryCodes(
  { db, keys }: Options,
  { commandId }: Pick<Command, 'commandId'>,
  result: Result,
): Promise<Result> {
  const user = await findUserById(db, String(result.userId));
  if (!user?.recoveryCodes) return { ...result, codes: [] };
  const { at, hashes } = user.recoveryCodes;
  const codes = newRecoveryCodes(keys['new-secret'], { commandId, at }, hashes.length);
  const isStanding = (code: string) =>
    hashes.includes(spareCodeHash(keys['spare-code'], 'recovery', user.id, code));
  return { ...result, codes: codes.filter(isStanding) };
}

async function describeEnrolmentCode(
  { db, keys }: Options,
  { commandId }: Pick<Command, 'commandId'>,
  result: Result,
): Promise<Result> {
  const user = await findUserById(db, String(result.userId));
  if (!user?.enrolment) return result;
  const { at, codeHash, expiresAt } = user.enrolment;
  const code = newEnrolmentCode(keys['new-secret'], { commandId, at });
  const isStanding = codeHash === spareCodeHash(keys['spare-code'], 'enrolment', user.id, code);
  return isStanding ? { ...result, code, expiresAt } : result;
}

async function describeApiKey(
  { db, keys }: Options,
  { commandId }: Pick<Command, 'commandId'>,
  result: Result,
): Promise<Result> {
  const found = (await listApiKeys(db)).find(({ document }) => document.id === result.id);
  if (!found || found.isRevoked) return result;
  const key = newApiKey(keys['new-secret'], { commandId, at: found.document.createdAt });
  return hashApiKey(key) === found.document.secretHash ? { ...result, key } : result;
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
