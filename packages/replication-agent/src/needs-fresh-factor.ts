import type { Command } from '@countersign/cluster';
import { isSafeText } from '@countersign/verification';

/**
 * Commands that change who may do what or whom the cluster trusts, what a sign-in takes, give somebody something to sign
 * in with, or tell everything about a person (security rules 16 and 17). To take something away in a hurry takes none: a
 * block, an authenticator, a device, the revocation of a key or of sessions; nor does giving back what was there, as an
 * unblock does: a second step is asked for as before.
 */
const ALWAYS = new Set([
  'administrator.add',
  'administrator.set',
  'administrator.remove',
  'administrator.invite',
  'api-key.add',
  'authenticator.enroll',
  'cluster.remove-node',
  'cluster.rotate-keys',
  'directory.add',
  'directory.approve-phone',
  'directory.set',
  'directory.set-items',
  'join-token.add',
  'radius-client.add',
  'radius-client.set',
  'radius-target.add',
  'radius-target.set',
  'settings.set',
  'user.bypass',
  'user.exempt',
  'user.export',
  'user.erase',
  'user.make-enrolment-code',
  'user.make-recovery-codes',
  'user.remove-pin',
]);
/** What somebody types so that they, or somebody else, get in with it; of new users, what they are to sign in with. */
const SECRETS = new Set(['secret', 'password', 'pin', 'newPin', 'authenticators']);
/** Of a user: whose second step it is, how it goes, and where codes and warnings are mailed. */
const SIGN_IN_FIELDS = ['username', 'email', 'method', 'modes'];
const REASON_MAX_BYTES = 500;
const DEPTH_MAX = 8;

/** Whether a person needs a second factor of the last minutes, and a reason, for this command. */
export function needsFreshFactor(commandName: string, args: Record<string, unknown>): boolean {
  if (ALWAYS.has(commandName)) return true;
  if (isApplication(commandName) && (opensUserMatch(args) || changesSettings(args))) return true;
  if (commandName === 'user.set' && changesSignIn(args)) return true;
  return suppliesSecret(args);
}

function isApplication(commandName: string): boolean {
  return commandName === 'application.add' || commandName === 'application.set';
}

/** `pass` lets in whoever is no user. */
function opensUserMatch(args: Record<string, unknown>): boolean {
  return args.userMatch === 'pass' || entriesOf(args.changes).userMatch === 'pass';
}

function changesSettings(args: Record<string, unknown>): boolean {
  const settings = [args.settings, entriesOf(args.changes).settings];
  return settings.some((each) => Object.keys(entriesOf(each)).length > 0);
}

function changesSignIn(args: Record<string, unknown>): boolean {
  const changes = entriesOf(args.changes);
  return SIGN_IN_FIELDS.some((field) => changes[field] !== undefined);
}

function suppliesSecret(value: unknown, depth = 0): boolean {
  if (typeof value !== 'object' || value === null || depth > DEPTH_MAX) return depth > DEPTH_MAX;
  return Object.entries(value).some(
    ([name, inner]) =>
      (SECRETS.has(name) && inner !== null && inner !== undefined) ||
      suppliesSecret(inner, depth + 1),
  );
}

function entriesOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** The caller's words for why; null where they gave none that can be kept. */
export function reasonOf({ args, proof }: Pick<Command, 'args' | 'proof'>): string | null {
  const reason = [proof.reason, args.reason].find(
    (each): each is string => typeof each === 'string' && each.trim() !== '',
  );
  if (reason === undefined || Buffer.byteLength(reason) > REASON_MAX_BYTES) return null;
  return isSafeText(reason) ? reason : null;
}
