import { Control } from 'ldapts';

import type { BoundClient, Entry } from './bound-client.ts';
import { addPeopleBelow, CHANGES_MAX, fullNeeded, tooManyChanges } from './changed-objects.ts';
import { DirectoryError } from './directory-error.ts';
import { DirSyncControl } from './dirsync-control.ts';
import { readNamingContext } from './naming-context.ts';
import { personAttributes, readObject } from './read-person.ts';
import { readEntry, type Reading } from './reading.ts';
import type { Changes, DirectoryConfig } from './types.ts';

const ROUNDS_MAX = 10_000;
const COOKIE_BYTES_MAX = 48 * 1024;

// Whoever leaves the user filter changed too, so it is not asked for here.
const PEOPLE = '(&(objectClass=person)(!(objectClass=computer)))';
const GROUPS = '(objectClass=group)';
const OTHERS = '(&(!(objectClass=person))(!(objectClass=group)))';
const NOBODY = '(objectGUID=\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00)';

/** Changes of an Active Directory since a cookie in base64; null: none, only the cookie of now. */
export async function readDirSync(
  { config, withConnection }: Reading,
  cookie: string | null,
): Promise<Changes> {
  const { uniqueIdType } = config.attributes;
  if (uniqueIdType !== 'guid') return fullNeeded('DirSync tells objectGUIDs, not the unique ids');
  try {
    return await withConnection((client) =>
      cookie === null
        ? readPlace(client, config)
        : readSince(client, config, Buffer.from(cookie, 'base64')),
    );
  } catch (error) {
    const why = error instanceof DirectoryError ? refusal(error) : null;
    if (why === null) throw error;
    return fullNeeded(why);
  }
}

async function readPlace(client: BoundClient, config: DirectoryConfig): Promise<Changes> {
  const base = await readNamingContext(client, config);
  const { cookie } = await ask(client, {
    base,
    filter: NOBODY,
    attributes: ['name'],
    cookie: null,
  });
  return {
    kind: 'changes',
    changed: [],
    gone: [],
    areRemovalsTold: await areRemovalsTold(client, base),
    haveGroupsChanged: false,
    cursor: at(cookie),
  };
}

/**
 * Three questions with the same cookie, because a changed object does not tell what it is. The
 * place to go on from is that of the first: what happens meanwhile is told again next time.
 */
async function readSince(
  client: BoundClient,
  config: DirectoryConfig,
  cookie: Buffer,
): Promise<Changes> {
  const base = await readNamingContext(client, config);
  const common = ['objectGUID', 'isDeleted', 'name', 'whenCreated'];
  const people = await ask(client, {
    base,
    filter: PEOPLE,
    // An object is told only for these.
    attributes: [...new Set([...personAttributes(config), ...common, 'primaryGroupID'])],
    cookie,
  });
  const groups = await ask(client, {
    base,
    filter: GROUPS,
    attributes: ['objectGUID', 'isDeleted', 'name', 'member', 'groupType'],
    cookie,
  });
  const others = await ask(client, { base, filter: OTHERS, attributes: common, cookie });
  if (people.isTooMuch || groups.isTooMuch || others.isTooMuch) return tooManyChanges;

  const changed = new Set<string>();
  const gone = new Set<string>();
  for (const entry of people.entries) {
    const object = readObject(entry, { uniqueId: 'objectGUID', uniqueIdType: 'guid' });
    if (object === null) throw new DirectoryError('answer', 'DirSync told of an object without id');
    // The last word on an object counts.
    (isDeleted(entry) ? changed : gone).delete(object);
    (isDeleted(entry) ? gone : changed).add(object);
  }
  // A container that is new, or gone, changes nobody's DN: who is moved into one is told of.
  const moved = others.entries.filter(
    (entry) => has(entry, 'name') && !has(entry, 'whenCreated') && !isDeleted(entry),
  );
  await addPeopleBelow(client, config, { containers: moved.map(({ dn }) => dn), changed });
  if (changed.size + gone.size > CHANGES_MAX) return tooManyChanges;
  return {
    kind: 'changes',
    changed: [...changed],
    gone: [...gone],
    areRemovalsTold: await areRemovalsTold(client, base),
    haveGroupsChanged:
      groups.entries.length > 0 ||
      moved.length > 0 ||
      // The group of everybody names nobody; a DN in a group is another now.
      people.entries.some((entry) => has(entry, 'primaryGroupID') || has(entry, 'name')),
    cursor: at(people.cookie),
  };
}

// LDAP_SERVER_SHOW_DELETED (MS-ADTS 3.1.1.3.4.1.14). Most accounts may not look in there, and are
// not told of removals then.
async function areRemovalsTold(client: BoundClient, base: string): Promise<boolean> {
  const container = await readEntry(client, `CN=Deleted Objects,${base}`, {
    filter: '(objectClass=*)',
    attributes: ['objectGUID'],
    controls: [new Control('1.2.840.113556.1.4.417', { critical: true })],
  });
  return container?.values.has('objectguid') === true;
}

async function ask(
  client: BoundClient,
  of: { base: string; filter: string; attributes: string[]; cookie: Buffer | null },
) {
  const { base, filter, attributes } = of;
  const entries: Entry[] = [];
  let { cookie } = of;
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const control = new DirSyncControl(cookie);
    const query = { scope: 'sub' as const, filter, attributes, controls: [control] };
    // Referrals name other partitions, of which DirSync tells nothing at all.
    const page = await client.search(base, query);
    entries.push(...page.entries);
    if (!control.answer) {
      throw new DirectoryError('answer', 'the directory did not answer to DirSync', {
        resultCode: NO_CONTROL,
      });
    }
    const before = cookie;
    ({ cookie } = control.answer);
    if (cookie.length === 0 || cookie.length > COOKIE_BYTES_MAX) {
      throw new DirectoryError('answer', `a DirSync cookie of ${cookie.length} bytes`);
    }
    if (!control.answer.isMore) return { entries, cookie, isTooMuch: false };
    if (entries.length > CHANGES_MAX) return { entries, cookie, isTooMuch: true };
    if (before?.equals(cookie) && page.entries.length === 0) break;
  }
  throw new DirectoryError('answer', 'DirSync does not come to an end');
}

const NO_CONTROL = 12;

/** Why a server cannot go on from a cookie, where another way may help; null: it is only not there. */
function refusal({ resultCode, message }: DirectoryError): string | null {
  const words: Record<number, string> = {
    1: 'the directory refused the place where DirSync was',
    2: 'the directory refused the place where DirSync was',
    [NO_CONTROL]: 'the directory has no DirSync, or refused the place where it was',
    50: 'the account has no right to DirSync',
    53: 'the directory refused DirSync or the place where it was',
    80: 'the directory refused the place where DirSync was',
  };
  const why = resultCode === undefined ? undefined : words[resultCode];
  return why === undefined ? null : `${why} (${message.slice(0, 200)})`;
}

function isDeleted(entry: Entry): boolean {
  return entry.values.get('isdeleted')?.[0]?.toString('latin1').toUpperCase() === 'TRUE';
}

function has(entry: Entry, attribute: string): boolean {
  return (entry.values.get(attribute.toLowerCase()) ?? []).length > 0;
}

function at(cookie: Buffer) {
  return { kind: 'dirsync' as const, cookie: cookie.toString('base64') };
}
