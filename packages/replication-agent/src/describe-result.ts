import type { Command } from '@countersign/cluster';
import {
  findUserById,
  listAdministrators,
  listApiKeys,
  type Database,
} from '@countersign/database';
import { open, type PurposeKey } from '@countersign/keys';
import { hashApiKey, seedContext, spareCodeHash } from '@countersign/operations';
import { otpauthUri, type OathAuthenticator, type UserDocument } from '@countersign/verification';
import type { CommandKeys } from './commands/plan.ts';
import {
  describeJoin,
  describeJoinToken,
  describeRenewal,
  type Joining,
} from './members/describe-join.ts';
import {
  findMade,
  newApiKey,
  newEnrolmentCode,
  newInvitationCode,
  newRecoveryCodes,
} from './new-secrets.ts';

export const OTPAUTH_ISSUER = 'Countersign';

type Options = {
  db: Database;
  keys: CommandKeys;
  /** Only in a cluster that can be joined. */
  joining?: Joining;
};
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
    case 'administrator.add':
    case 'administrator.invite':
    case 'administrator.recover':
      return describeInvitation(options, command, result);
    case 'join-token.add':
      return describeJoinToken(options, command, result);
    case 'node.join':
      return describeJoin(options, result);
    case 'node.renew':
      return describeRenewal(options, result);
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
  const isStanding = (code: string) =>
    hashes.includes(spareCodeHash(keys['spare-code'], 'recovery', user.id, code));
  const made = await findMade(
    keys['new-secret'],
    (key) => newRecoveryCodes(key, { commandId, at }, hashes.length),
    (codes) => codes.some(isStanding),
  );
  return { ...result, codes: made?.filter(isStanding) ?? [] };
}

async function describeEnrolmentCode(
  { db, keys }: Options,
  { commandId }: Pick<Command, 'commandId'>,
  result: Result,
): Promise<Result> {
  const user = await findUserById(db, String(result.userId));
  if (!user?.enrolment) return result;
  const { at, codeHash, expiresAt } = user.enrolment;
  const code = await findMade(
    keys['new-secret'],
    (key) => newEnrolmentCode(key, { commandId, at }),
    (made) => codeHash === spareCodeHash(keys['spare-code'], 'enrolment', user.id, made),
  );
  return code === null ? result : { ...result, code, expiresAt };
}

async function describeApiKey(
  { db, keys }: Options,
  { commandId }: Pick<Command, 'commandId'>,
  result: Result,
): Promise<Result> {
  const found = (await listApiKeys(db)).find(({ document }) => document.id === result.id);
  if (!found || found.isRevoked) return result;
  const { createdAt: at, secretHash } = found.document;
  const key = await findMade(
    keys['new-secret'],
    (generation) => newApiKey(generation, { commandId, at }),
    (made) => hashApiKey(made) === secretHash,
  );
  return key === null ? result : { ...result, key };
}

async function describeInvitation(
  { db, keys }: Options,
  { commandId }: Pick<Command, 'commandId'>,
  result: Result,
): Promise<Result> {
  const found = (await listAdministrators(db)).find(({ document }) => document.id === result.id);
  const { invitation } = found?.document ?? {};
  if (!invitation) return result;
  const { at, codeHash, expiresAt } = invitation;
  const code = await findMade(
    keys['new-secret'],
    (key) => newInvitationCode(key, { commandId, at }),
    (made) => hashApiKey(made) === codeHash,
  );
  return code === null ? result : { ...result, code, expiresAt };
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
