import type { Person } from '@countersign/directory';
import {
  findUsersByKeys,
  findUsersByObject,
  listForeignDomains,
  type Database,
} from '@countersign/database';
import {
  usernameKey,
  type DirectoryDocument,
  type SyncItem,
  type UserDocument,
} from '@countersign/verification';
import { v7 as uuidv7 } from 'uuid';
import { flawOf } from '../flaw-of.ts';
import { withApprovedPhones, withOldTold } from './approved-phones.ts';
import { effectOf, riskOf, type Effect } from './decide.ts';
import { goneUser, keptName, onRemovalOf, releasesName, withReleasedName } from './gone-user.ts';
import { mergePerson, usernamesFor, type Treatment } from './merge-person.ts';
import { withOwnNames } from './own-names.ts';
import type { Risk } from './safeguard.ts';

/** What is wanted of one object of the directory; what it comes to is decided when it is written. */
export type Wish =
  | {
      kind: 'person';
      object: string;
      person: Person;
      /** Null: imported by hand, and in no item. */
      item: SyncItem | null;
      treatment: Treatment;
      /** What an administrator may have to approve is left as it is. */
      isHeld: boolean;
    }
  | { kind: 'gone' | 'approved phones' | 'old told' | 'purge'; object: string };

export type PlannedChange = {
  object: string;
  before: UserDocument | null;
  /** Null: for good. */
  after: UserDocument | null;
  effect: Effect | 'purged';
  risk: Risk | null;
  item: SyncItem | null;
};

export type SlicePlan = {
  changes: PlannedChange[];
  /** To be planned again once these changes are applied. */
  again: Wish[];
  /** The name they want is somebody else's of the same directory, who may give it up in this run. */
  late: Wish[];
  refused: { object: string; why: string }[];
};

type Options = {
  db: Database;
  directory: Pick<DirectoryDocument, 'id' | 'domains' | 'items'>;
  now: Date;
  /** Whoever has a name of the directory keeps it now. */
  isFinal: boolean;
  /** Whether what an administrator may have to approve is done. */
  allowsRisk: boolean;
  /** Keys of names given to others; grows. */
  claimed: Set<string>;
};

/** Whoever has a name that is wanted, by its key, and the objects of all wishes of the slice. */
type Others = { holders: Map<string, UserDocument>; objects: ReadonlySet<string> };

export const NAME_TAKEN = 'name taken by another user';

/** What these wishes come to by what the replica has, and who holds the names they want. */
export async function planSlice(wishes: readonly Wish[], options: Options): Promise<SlicePlan> {
  const { users, holders } = await readUsersOf(wishes, options);
  const plan: SlicePlan = { changes: [], again: [], late: [], refused: [] };
  const objects = new Set(wishes.map(({ object }) => object));
  const own = options.directory.domains;
  const foreign = await listForeignDomains(options.db, options.directory.id);
  for (const wish of wishes) {
    const user = users.get(wish.object) ?? null;
    if (wish.kind === 'person') {
      const person = withOwnNames(wish.person, { own, foreign });
      planPerson({ ...wish, person }, user, { holders, objects }, plan, options);
    } else if (user) planOther(wish.kind, user, plan, options);
  }
  return plan;
}

/** Names that these wishes may take, free or leave in doubt; others must not be given or taken beside them. */
export async function namesOfWishes(
  wishes: readonly Wish[],
  options: Pick<Options, 'db' | 'directory'>,
): Promise<string[]> {
  const { users, holders } = await readUsersOf(wishes, options);
  const wanted = wishes.flatMap((one) => (one.kind === 'person' ? one.person.usernames : []));
  const released = [...holders.values()].filter(({ directory }) => directory?.goneAt).map(keptName);
  return [...wanted, ...released, ...[...users.values()].map(({ username }) => username)];
}

async function readUsersOf(
  wishes: readonly Wish[],
  { db, directory }: Pick<Options, 'db' | 'directory'>,
): Promise<{ users: Map<string, UserDocument>; holders: Map<string, UserDocument> }> {
  const objects = wishes.map(({ object }) => object);
  const names = wishes.flatMap((wish) => (wish.kind === 'person' ? wish.person.usernames : []));
  const found = await findUsersByObject(db, directory.id, objects);
  // Who comes back may find the old name taken.
  const back = found.filter(({ removedAt }) => removedAt).map(({ username }) => username);
  const holders = await findUsersByKeys(db, [...names, ...back].map(usernameKey));
  return {
    users: new Map(found.map((user) => [user.directory!.object, user])),
    holders: new Map(holders.map((user) => [usernameKey(user.username), user])),
  };
}

function planPerson(
  wish: Extract<Wish, { kind: 'person' }>,
  user: UserDocument | null,
  others: Others,
  plan: SlicePlan,
  options: Options,
): void {
  const { directory, now } = options;
  const username = chooseName(wish, user, others, plan, options);
  if (username === null) return;
  const { person, treatment, isHeld, item, object } = wish;
  const merge = { directory, person, treatment, isHeld, username, newId: uuidv7(), now };
  const after = mergePerson(user, { ...merge, itemId: item?.id ?? null });
  if (after === user) return;
  const flaw = flawOf({ kind: 'user', document: after, removed: false });
  if (flaw) plan.refused.push({ object, why: flaw });
  else addChange(plan, { object, before: user, after, item }, options);
}

/** A name that nobody else has, or null where this wish waits or is refused. */
function chooseName(
  wish: Extract<Wish, { kind: 'person' }>,
  user: UserDocument | null,
  { holders, objects }: Others,
  plan: SlicePlan,
  { directory, now, isFinal, claimed }: Options,
): string | null {
  const candidates = usernamesFor(user, wish.person, wish.treatment);
  const ownKey = user && !user.removedAt ? usernameKey(user.username) : null;
  for (const name of candidates) {
    const key = usernameKey(name);
    if (key === ownKey) return name;
    const holder = holders.get(key);
    const isClaimed = claimed.has(key);
    if (!isClaimed && !holder) return name;
    if (holder && releasesName(holder, directory.id, wish.object)) {
      const isPlanned = plan.changes.some(({ before }) => before?.id === holder.id);
      // One change of a user in a slice: who may come back in this one is looked at again after it.
      if (!isPlanned && !objects.has(holder.directory!.object)) {
        const { object } = holder.directory!;
        const after = withReleasedName(holder, now);
        plan.changes.push({
          object,
          before: holder,
          after,
          effect: 'changed',
          risk: null,
          item: null,
        });
      }
      plan.again.push(wish);
      return null;
    }
    if (!isFinal && (isClaimed || holder?.directory?.id === directory.id)) {
      plan.late.push(wish);
      return null;
    }
  }
  const why = candidates.length === 0 ? 'no name that a user can have' : NAME_TAKEN;
  plan.refused.push({ object: wish.object, why });
  return null;
}

function planOther(
  kind: Exclude<Wish['kind'], 'person'>,
  user: UserDocument,
  plan: SlicePlan,
  options: Options,
): void {
  const { directory, now } = options;
  const item = directory.items.find(({ id }) => id === user.directory?.item) ?? null;
  const { object } = user.directory!;
  if (kind === 'purge') {
    if (!user.removedAt) return;
    plan.changes.push({ object, before: user, after: null, effect: 'purged', risk: null, item });
    return;
  }
  const edits = {
    gone: () => goneUser(user, onRemovalOf(user, directory.items), now),
    'approved phones': () => withApprovedPhones(user, now),
    'old told': () => withOldTold(user, now),
  };
  const after = edits[kind]();
  if (after !== user) addChange(plan, { object, before: user, after, item }, options);
}

function addChange(
  plan: SlicePlan,
  change: Pick<PlannedChange, 'object' | 'before' | 'item'> & { after: UserDocument },
  { claimed, allowsRisk }: Options,
): void {
  const { before, after } = change;
  const [effect, risk] = [effectOf(before, after), riskOf(before, after)];
  if (risk && !allowsRisk) return;
  const key = usernameKey(after.username);
  if (!before || before.removedAt || usernameKey(before.username) !== key) claimed.add(key);
  plan.changes.push({ ...change, effect, risk });
}
