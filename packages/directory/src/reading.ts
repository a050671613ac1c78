import { AndFilter, Control, EqualityFilter, OrFilter, type Filter } from 'ldapts';

import type { BoundClient, Entry, SearchQuery, WithConnection } from './bound-client.ts';
import { DirectoryError } from './directory-error.ts';
import { parseFilter } from './parse-filter.ts';
import { guidBytes } from './read-person.ts';
import type { DirectoryConfig } from './types.ts';

/** What every reading of a directory needs. */
export type Reading = { config: DirectoryConfig; withConnection: WithConnection };

// What one request asks for: a filter of thousands of parts is refused by some servers.
const BATCH = 100;
const NO_SUCH_OBJECT = 32;
const INVALID_DN = 34;

/**
 * Objects page by page, without their referrals: where a part of the answer lies elsewhere it is
 * not whole, and DirectoryError is thrown.
 */
export async function* readEntries(
  client: BoundClient,
  config: DirectoryConfig,
  query: Omit<SearchQuery, 'scope'> & { base?: string },
  signal?: AbortSignal,
): AsyncGenerator<Entry[]> {
  const base = query.base ?? config.baseDn;
  const controls = [...(query.controls ?? []), ...wholeDomain(config)];
  for await (const page of client.searchPages(base, { ...query, scope: 'sub', controls })) {
    signal?.throwIfAborted();
    checkReferrals(page.referrals, base);
    yield page.entries;
  }
}

/** One object that matches; null: there is none of that name, or it does not match. */
export async function readEntry(
  client: BoundClient,
  dn: string,
  query: Omit<SearchQuery, 'scope'>,
): Promise<Entry | null> {
  try {
    const { entries, referrals } = await client.search(dn, { ...query, scope: 'base' });
    checkReferrals(referrals, dn);
    return entries[0] ?? null;
  } catch (error) {
    const code = error instanceof DirectoryError ? error.resultCode : undefined;
    if (code === NO_SUCH_OBJECT || code === INVALID_DN) return null;
    throw error;
  }
}

/** Filters for people with one of these values each, in batches. */
export function* batchFilters(
  config: DirectoryConfig,
  attribute: string,
  values: readonly Buffer[],
): Generator<Filter> {
  for (let at = 0; at < values.length; at += BATCH) {
    const some = values.slice(at, at + BATCH);
    const filters = some.map((value) => new EqualityFilter({ attribute, value }));
    yield new AndFilter({ filters: [new OrFilter({ filters }), userFilter(config)] });
  }
}

/** Objects ({@link Person.object}) as their attribute is searched; those that none can be are left out. */
export function objectValues(config: DirectoryConfig, objects: Iterable<string>): Buffer[] {
  const { uniqueIdType } = config.attributes;
  return [...new Set(objects)].flatMap((object) =>
    uniqueIdType === 'guid' ? (guidBytes(object) ?? []) : Buffer.from(object, 'utf8'),
  );
}

export function userFilter(config: DirectoryConfig): Filter {
  return parseFilter(config.filters.user);
}

/** How many there can be at most; more is refused, never cut off. */
export function checkCount(count: number, config: DirectoryConfig): void {
  if (count <= config.peopleMax) return;
  throw new DirectoryError(
    'answer',
    `${config.name} has more than ${config.peopleMax} people: narrow the user filter or the base DN, or raise the limit`,
  );
}

function checkReferrals(count: number, base: string): void {
  if (count === 0) return;
  throw new DirectoryError(
    'answer',
    `a part of what is below ${base} lies in another directory, so the answer is not whole: choose a base DN without it`,
  );
}

// LDAP_SERVER_DOMAIN_SCOPE (MS-ADTS 3.1.1.3.4.1.2): below the root of a domain Active Directory
// otherwise names its other partitions, which hold no people.
function wholeDomain({ type }: DirectoryConfig): Control[] {
  return type === 'active-directory' ? [new Control('1.2.840.113556.1.4.1339')] : [];
}
