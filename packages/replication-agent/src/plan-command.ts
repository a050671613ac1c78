import { findUsernamesBehind, type Database } from '@countersign/database';
import { usernameKey, type ApiScope, type Right } from '@countersign/verification';
import type { z } from 'zod';
import { acceptInvitation, acceptInvitationArgs } from './commands/accept-invitation.ts';
import { addAdministrator, addAdministratorArgs } from './commands/add-administrator.ts';
import { addApplication, addApplicationArgs } from './commands/add-application.ts';
import { addApiKey, addApiKeyArgs } from './commands/add-api-key.ts';
import { addDirectory, addDirectoryArgs } from './commands/add-directory.ts';
import { addJoinToken, addJoinTokenArgs } from './commands/add-join-token.ts';
import { addRadiusClient, addRadiusClientArgs } from './commands/add-radius-client.ts';
import { addRadiusTarget, addRadiusTargetArgs } from './commands/add-radius-target.ts';
import { addUser, addUserArgs } from './commands/add-user.ts';
import { applyStopFact, applyStopFactArgs } from './commands/apply-stop-fact.ts';
import { blockUser, blockUserArgs } from './commands/block-user.ts';
import { bypassUser, bypassUserArgs, endBypass, endBypassArgs } from './commands/bypass-user.ts';
import { changePin, changePinArgs } from './commands/change-pin.ts';
import { approvePhone, decidePhoneArgs, rejectPhone } from './commands/decide-phone.ts';
import { approveSteps, decideStepsArgs, rejectSteps } from './commands/decide-steps.ts';
import { enrollAuthenticator, enrollAuthenticatorArgs } from './commands/enroll-authenticator.ts';
import { enrollWithCode, enrollWithCodeArgs } from './commands/enroll-with-code.ts';
import { eraseUser, eraseUserArgs, exportUser, exportUserArgs } from './commands/erase-user.ts';
import {
  endExemption,
  endExemptionArgs,
  exemptUser,
  exemptUserArgs,
} from './commands/exempt-user.ts';
import { inviteAdministrator, inviteAdministratorArgs } from './commands/invite-administrator.ts';
import { joinNode, joinNodeArgs } from './commands/join-node.ts';
import { makeEnrolmentCode, makeEnrolmentCodeArgs } from './commands/make-enrolment-code.ts';
import { makeRecoveryCodes, makeRecoveryCodesArgs } from './commands/make-recovery-codes.ts';
import { refuse, type Plan, type PlanContext } from './commands/plan.ts';
import {
  activateAuthenticator,
  activateAuthenticatorArgs,
  resynchroniseAuthenticator,
  resynchroniseAuthenticatorArgs,
} from './commands/prove-token.ts';
import {
  recoverAdministrator,
  recoverAdministratorArgs,
} from './commands/recover-administrator.ts';
import { removeAdministrator, removeAdministratorArgs } from './commands/remove-administrator.ts';
import { removeApplication, removeApplicationArgs } from './commands/remove-application.ts';
import { removeAuthenticator, removeAuthenticatorArgs } from './commands/remove-authenticator.ts';
import { removeRadiusClient, removeRadiusClientArgs } from './commands/remove-radius-client.ts';
import { removeRadiusTarget, removeRadiusTargetArgs } from './commands/remove-radius-target.ts';
import { removeUser, removeUserArgs } from './commands/remove-user.ts';
import { removeDirectory, removeDirectoryArgs } from './commands/remove-directory.ts';
import { renewCertificate, renewCertificateArgs } from './commands/renew-certificate.ts';
import { reportFraud, reportFraudArgs } from './commands/report-fraud.ts';
import { revokeApiKey, revokeApiKeyArgs } from './commands/revoke-api-key.ts';
import { setAdministrator, setAdministratorArgs } from './commands/set-administrator.ts';
import { revokeJoinToken, revokeJoinTokenArgs } from './commands/revoke-join-token.ts';
import { setApplication, setApplicationArgs } from './commands/set-application.ts';
import { setDirectory, setDirectoryArgs } from './commands/set-directory.ts';
import { setDirectoryItems, setDirectoryItemsArgs } from './commands/set-directory-items.ts';
import { removePin, removePinArgs, setPin, setPinArgs } from './commands/set-pin.ts';
import { setRadiusClient, setRadiusClientArgs } from './commands/set-radius-client.ts';
import { setRadiusTarget, setRadiusTargetArgs } from './commands/set-radius-target.ts';
import { setSettings, setSettingsArgs } from './commands/set-settings.ts';
import { setUser, setUserArgs } from './commands/set-user.ts';
import { unblockUser, unblockUserArgs } from './commands/unblock-user.ts';
import { tokensTouched } from './tokens-touched.ts';
import type { Touched } from './turns.ts';

/** `right`: it, or one of them. */
type Entry = {
  right: Right | readonly Right[];
  plan(context: PlanContext, args: unknown): Promise<Plan>;
};

/** What a help desk does for users: it takes rights away, or helps without showing a seed, a code or a PIN. */
const HELP = ['users:write', 'users:help'] as const;

/** Every command that becomes a change: the right it takes and how it is planned. */
const COMMANDS: Record<string, Entry> = {
  'user.add': entry('users:write', addUserArgs, addUser),
  'user.set': entry('users:write', setUserArgs, setUser),
  'user.block': entry(HELP, blockUserArgs, blockUser),
  'user.unblock': entry(HELP, unblockUserArgs, unblockUser),
  'user.remove': entry('users:write', removeUserArgs, removeUser),
  'user.export': entry('users:write', exportUserArgs, exportUser),
  'user.erase': entry('users:write', eraseUserArgs, eraseUser),
  'user.exempt': entry('users:write', exemptUserArgs, exemptUser),
  'user.end-exemption': entry('users:write', endExemptionArgs, endExemption),
  'user.bypass': entry(HELP, bypassUserArgs, bypassUser),
  'user.end-bypass': entry(HELP, endBypassArgs, endBypass),
  'user.set-pin': entry('users:write', setPinArgs, setPin),
  'user.remove-pin': entry('users:write', removePinArgs, removePin),
  'user.change-pin': entry('verify', changePinArgs, changePin),
  'user.make-recovery-codes': entry('users:write', makeRecoveryCodesArgs, makeRecoveryCodes),
  'user.make-enrolment-code': entry(HELP, makeEnrolmentCodeArgs, makeEnrolmentCode),
  'user.report-fraud': entry('verify', reportFraudArgs, reportFraud),
  'authenticator.enroll-with-code': entry('enrol', enrollWithCodeArgs, enrollWithCode),
  'authenticator.enroll': entry('users:write', enrollAuthenticatorArgs, enrollAuthenticator),
  'authenticator.activate': entry('users:write', activateAuthenticatorArgs, activateAuthenticator),
  'authenticator.resynchronise': entry(
    'users:write',
    resynchroniseAuthenticatorArgs,
    resynchroniseAuthenticator,
  ),
  'authenticator.remove': entry('users:write', removeAuthenticatorArgs, removeAuthenticator),
  'api-key.add': entry('api-keys:write', addApiKeyArgs, addApiKey),
  'api-key.revoke': entry('api-keys:write', revokeApiKeyArgs, revokeApiKey),
  'administrator.add': entry('administrators:write', addAdministratorArgs, addAdministrator),
  'administrator.set': entry('administrators:write', setAdministratorArgs, setAdministrator),
  'administrator.remove': entry(
    'administrators:write',
    removeAdministratorArgs,
    removeAdministrator,
  ),
  'administrator.invite': entry(
    'administrators:write',
    inviteAdministratorArgs,
    inviteAdministrator,
  ),
  'administrator.accept': entry([], acceptInvitationArgs, acceptInvitation),
  'administrator.recover': entry('socket', recoverAdministratorArgs, recoverAdministrator),
  'stop-fact.apply': entry('users:write', applyStopFactArgs, applyStopFact),
  'settings.set': entry('settings:write', setSettingsArgs, setSettings),
  'application.add': entry('settings:write', addApplicationArgs, addApplication),
  'application.set': entry('settings:write', setApplicationArgs, setApplication),
  'directory.approve': entry('users:write', decideStepsArgs, approveSteps),
  'directory.reject': entry('users:write', decideStepsArgs, rejectSteps),
  'directory.approve-phone': entry('users:write', decidePhoneArgs, approvePhone),
  'directory.reject-phone': entry('users:write', decidePhoneArgs, rejectPhone),
  'application.remove': entry('settings:write', removeApplicationArgs, removeApplication),
  'directory.add': entry('settings:write', addDirectoryArgs, addDirectory),
  'directory.set': entry('settings:write', setDirectoryArgs, setDirectory),
  'directory.set-items': entry('settings:write', setDirectoryItemsArgs, setDirectoryItems),
  'directory.remove': entry('settings:write', removeDirectoryArgs, removeDirectory),
  'radius-client.add': entry('settings:write', addRadiusClientArgs, addRadiusClient),
  'radius-client.set': entry('settings:write', setRadiusClientArgs, setRadiusClient),
  'radius-client.remove': entry('settings:write', removeRadiusClientArgs, removeRadiusClient),
  'radius-target.add': entry('settings:write', addRadiusTargetArgs, addRadiusTarget),
  'radius-target.set': entry('settings:write', setRadiusTargetArgs, setRadiusTarget),
  'join-token.add': entry('cluster:write', addJoinTokenArgs, addJoinToken),
  'join-token.revoke': entry('cluster:write', revokeJoinTokenArgs, revokeJoinToken),
  'node.join': entry('cluster:write', joinNodeArgs, joinNode),
  'node.renew': entry('cluster:write', renewCertificateArgs, renewCertificate),
  'radius-target.remove': entry('settings:write', removeRadiusTargetArgs, removeRadiusTarget),
};

/** Their results show what somebody else may act with, once. */
const HAND_OUT_RIGHTS = new Set([
  'administrator.add',
  'administrator.invite',
  'api-key.add',
  'join-token.add',
]);

/** Whether a command gives rights away, by what its caller has themselves. */
export function handsOutRights(commandName: string): boolean {
  return HAND_OUT_RIGHTS.has(commandName);
}

const NAME = 'user ';

/** What the synchronisation itself answers: these become no change of their own. */
const DIRECTORY_COMMANDS = {
  'directory.sync': 'users:write',
  'directory.import': 'users:write',
  'directory.status': 'settings:read',
} as const satisfies Record<string, ApiScope>;
export type DirectoryCommand = keyof typeof DIRECTORY_COMMANDS;

export function isDirectoryCommand(commandName: string): commandName is DirectoryCommand {
  return Object.hasOwn(DIRECTORY_COMMANDS, commandName);
}

/** The right, or one of the rights, that a command takes; null: there is no such command. */
export function scopeOf(commandName: string): Right | readonly Right[] | null {
  if (commandName.startsWith('cluster.') || commandName === 'join-token.list') {
    return 'cluster:write';
  }
  if (commandName === 'user.add-many') return 'users:write';
  if (isDirectoryCommand(commandName)) return DIRECTORY_COMMANDS[commandName];
  return COMMANDS[commandName]?.right ?? null;
}

/** Decides what a command comes to, from the replica alone: what it touches must be applied there. Writes nothing. */
export async function planCommand(
  context: PlanContext,
  name: string,
  args: Record<string, unknown>,
): Promise<Plan> {
  const found = COMMANDS[name];
  return found ? found.plan(context, args) : refuse(400, 'invalid_request', `no command ${name}`);
}

/**
 * What must not be in flight while the command is planned. A user is found by name only, so the names it gives stand
 * for the user and for the names it takes or frees (see {@link touchedBehind} for who has several); what is about
 * anything else waits for everything.
 */
export function touchedBy(name: string, args: Record<string, unknown>): Touched {
  if (!name.startsWith('user.') && !name.startsWith('authenticator.')) return 'everything';
  const { username, changes } = args;
  const newName = (changes as { username?: unknown } | undefined)?.username;
  const names = [username, newName].filter((each) => typeof each === 'string');
  return [...names.map(nameTouched), ...tokensTouched(args)];
}

export function nameTouched(username: string): string {
  // No user has a longer name, so what is cut off here is refused later.
  return `${NAME}${usernameKey(username.slice(0, 512))}`;
}

/** What is touched besides by whoever gives a user another of the names that a directory has for them. */
export async function touchedBehind(db: Database, touched: Touched): Promise<string[]> {
  if (touched === 'everything') return [];
  const keys = touched.flatMap((each) => (each.startsWith(NAME) ? [each.slice(NAME.length)] : []));
  if (keys.length === 0) return [];
  const behind = await findUsernamesBehind(db, keys);
  return behind.map((key) => `${NAME}${key}`).filter((each) => !touched.includes(each));
}

function entry<S extends z.ZodType>(
  right: Entry['right'],
  schema: S,
  plan: (context: PlanContext, args: z.output<S>) => Promise<Plan>,
): Entry {
  return {
    right,
    async plan(context, args) {
      const parsed = schema.safeParse(args);
      if (parsed.success) return plan(context, parsed.data);
      const [issue] = parsed.error.issues;
      return refuse(400, 'invalid_request', `${issue?.path.join('.')}: ${issue?.message}`);
    },
  };
}
