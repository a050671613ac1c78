import { isDeepStrictEqual } from 'node:util';
import type { Person } from '@countersign/directory';
import {
  checkUsername,
  DIRECTORY_NAMES_MAX,
  usernameKey,
  type DirectoryDocument,
  type DirectoryLink,
  type SyncItem,
  type UserDocument,
} from '@countersign/verification';
import { mergePhones } from './merge-phones.ts';

/** What decides how a person becomes a user: a sync item, or what an import by hand was told. */
export type Treatment = Pick<
  SyncItem,
  'name' | 'enabled' | 'method' | 'language' | 'phones' | 'vouchForPhones' | 'update'
>;

export type Merge = {
  directory: Pick<DirectoryDocument, 'id'>;
  person: Person;
  /** Null: imported by hand, and in no item. */
  itemId: string | null;
  treatment: Treatment;
  /** One of {@link usernamesFor} that nobody else has. */
  username: string;
  /** For a new user. */
  newId: string;
  /** A phone that is trusted keeps its number, and somebody who may sign in may go on: an administrator decides. */
  isHeld?: boolean;
  now: Date;
};

type Policies = Treatment['update'];

/** Of users that were imported by hand: what the directory says of them goes, what an administrator chose stays. */
export const BY_HAND: Treatment = {
  name: 'import',
  enabled: true,
  method: null,
  language: null,
  phones: [],
  vouchForPhones: 'never',
  update: {
    username: 'always',
    names: 'always',
    mail: 'always',
    description: 'always',
    phones: 'import',
    method: 'import',
    language: 'import',
  },
};

/** What a user may be called, best first; the name they have where it may stay. Empty: no name of the person can be one. */
export function usernamesFor(
  user: UserDocument | null,
  person: Pick<Person, 'usernames'>,
  { update }: Pick<Treatment, 'update'>,
): string[] {
  const candidates = person.usernames.filter((name) => checkUsername(name) === null);
  if (!user) return candidates;
  // The name was free while the user was away.
  if (user.removedAt !== undefined) return [user.username, ...candidates];
  if (update.username !== 'always') return [user.username];
  const key = usernameKey(user.username);
  // The present one, in the letters that the directory has now.
  const present = candidates.find((name) => usernameKey(name) === key);
  return present === undefined ? [...candidates, user.username] : [present];
}

/** The user as the directory wants them. The very same document where nothing differs. */
export function mergePerson(user: UserDocument | null, given: Merge): UserDocument {
  // Nobody is disabled or loses a phone by coming, or by coming back.
  const isHeld = given.isHeld === true && user !== null && user.removedAt === undefined;
  const merge = { ...given, isHeld };
  const { now, newId } = merge;
  const at = now.toISOString();
  const before = user ?? {
    id: newId,
    username: merge.username,
    enabled: true,
    blocked: null,
    unlockedAt: null,
    authenticators: [],
    createdAt: at,
    updatedAt: at,
  };
  const after = mergePhones(mergeFields(before, merge, user === null), merge, user === null);
  if (user && isDeepStrictEqual(after, user)) return user;
  return { ...after, updatedAt: at };
}

function mergeFields(before: UserDocument, merge: Merge, isNew: boolean): UserDocument {
  const { person, treatment, username, itemId, directory, isHeld } = merge;
  const { removedAt: _back, ...user } = { ...before, username };
  const takes = (what: keyof Policies) =>
    treatment.update[what] === 'always' || (isNew && treatment.update[what] === 'import');
  if (takes('names')) {
    setOrClear(user, 'displayName', person.displayName);
    setOrClear(user, 'firstName', person.firstName);
    setOrClear(user, 'lastName', person.lastName);
  }
  if (takes('mail')) setOrClear(user, 'email', person.mails[0] ?? null);
  if (takes('description')) {
    setOrClear(user, 'description', person.description);
    setOrClear(user, 'group', person.group);
  }
  if (takes('method')) setOrClear(user, 'method', treatment.method);
  if (takes('language')) setOrClear(user, 'language', person.language ?? treatment.language);

  const wantsEnabled = treatment.enabled && !person.isDisabled;
  const wasDisabledBySync = before.directory?.isDisabledBySync === true;
  if (wantsEnabled && wasDisabledBySync) user.enabled = true;
  const disables = !wantsEnabled && user.enabled && !isHeld;
  if (disables) user.enabled = false;
  const isDisabledBySync = !wantsEnabled && !user.enabled && (disables || wasDisabledBySync);

  const pendingPhones = before.directory?.pendingPhones;
  const link: DirectoryLink = {
    id: directory.id,
    object: person.object,
    dn: person.dn,
    item: itemId,
    names: foldedNames(person.names, [username], DIRECTORY_NAMES_MAX),
    mails: foldedNames(person.mails, [], MAILS_MAX),
    ...(isDisabledBySync && { isDisabledBySync: true as const }),
    ...(pendingPhones && { pendingPhones }),
  };
  return { ...user, directory: link };
}

const MAILS_MAX = 4;

/** Without twins, and without those that are too long to be looked for. */
function foldedNames(names: readonly string[], known: readonly string[], max: number): string[] {
  const keys = names
    .map(usernameKey)
    .filter((key) => key !== '' && Buffer.byteLength(key, 'utf8') <= 256);
  const others = new Set(known.map(usernameKey));
  return [...new Set(keys)].filter((key) => !others.has(key)).slice(0, max);
}

function setOrClear<
  F extends
    | 'displayName'
    | 'firstName'
    | 'lastName'
    | 'description'
    | 'group'
    | 'email'
    | 'method'
    | 'language',
>(user: UserDocument, field: F, value: UserDocument[F] | null): void {
  if (value === null || value === undefined) delete user[field];
  else user[field] = value;
}
