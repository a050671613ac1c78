import { AndFilter, EqualityFilter, OrFilter } from 'ldapts';
import type { Filter } from 'ldapts';
import type { BoundClient, Entry } from './bound-client.ts';
import { DirectoryError } from './directory-error.ts';
import { dnKey, isUnder } from './dn.ts';
import { parseFilter } from './parse-filter.ts';
import { guidBytes, readObject } from './read-person.ts';
import type { DirectoryConfig } from './types.ts';

const NAME_BYTES_MAX = 1024;

export type Resolved =
  | { kind: 'found'; object: string; dn: string }
  | { kind: 'unknown' }
  | { kind: 'ambiguous' };

/**
 * The one person that a name from outside means: a short name, DOMAIN\short name, user@domain, a
 * mail address where nobody is called so, or a DN. All that Active Directory takes in a bind besides
 * (display names, SIDs, GUIDs and more) is nobody's name. Throws DirectoryError.
 */
export async function resolveName(
  client: BoundClient,
  config: DirectoryConfig,
  name: string,
): Promise<Resolved> {
  if (!isName(name)) return { kind: 'unknown' };
  if (/^\s*[a-z0-9.-]+\s*=/i.test(name)) return resolveDn(client, config, name);
  const { names, mail } = readForms(name, config);
  const found = await findOne(client, config, names);
  if (found.kind !== 'unknown' || !mail) return found;
  return findOne(client, config, [mail]);
}

/** The person with an object id, as {@link Person.object} writes it. Throws DirectoryError. */
export async function resolveObject(
  client: BoundClient,
  config: DirectoryConfig,
  object: string,
): Promise<Resolved> {
  const { uniqueId, uniqueIdType } = config.attributes;
  const value = uniqueIdType === 'guid' ? guidBytes(object) : Buffer.from(object);
  if (!value || !/^[0-9a-z-]{1,64}$/.test(object)) return { kind: 'unknown' };
  const found = await findOne(client, config, [isEqual(uniqueId, value)]);
  return found.kind === 'found' && found.object !== object ? { kind: 'unknown' } : found;
}

function isName(name: string): boolean {
  const hasControls = /\p{Cc}/u.test(name) || !name.isWellFormed();
  return name.trim() !== '' && !hasControls && Buffer.byteLength(name) <= NAME_BYTES_MAX;
}

/** The filters that a name may be found by; mail only if none of `names` found anybody. */
function readForms(
  name: string,
  { type, domains, attributes }: DirectoryConfig,
): { names: Filter[]; mail: Filter | null } {
  const { shortName, usernames, mail } = attributes;
  const isOurs = (domain: string) =>
    domains.some((one) => one.toLowerCase() === domain.toLowerCase());
  const backslash = name.indexOf('\\');
  if (backslash >= 0) {
    const short = name.slice(backslash + 1);
    const isMeant = shortName && short !== '' && isOurs(name.slice(0, backslash));
    return { names: isMeant ? [isEqual(shortName, short)] : [], mail: null };
  }
  const at = name.lastIndexOf('@');
  const names = new Set(usernames);
  if (shortName && at < 0) names.add(shortName);
  // Not Active Directory's own rule, which prefers the first: where both are there, neither is sure.
  if (type === 'active-directory' && at >= 0) names.add('userPrincipalName');
  // People may write their own address: it never makes somebody else's name ambiguous.
  if (mail) names.delete(mail);
  const filters = [...names].map((attribute) => isEqual(attribute, name));
  const short = name.slice(0, at);
  if (at > 0 && shortName && isOurs(name.slice(at + 1))) filters.push(isEqual(shortName, short));
  const isMailName = mail && (at >= 0 || usernames.includes(mail));
  return { names: filters, mail: isMailName ? isEqual(mail, name) : null };
}

/** Bytes, because the library garbles what it reads from text; never a wildcard. */
function isEqual(attribute: string, value: string | Buffer): EqualityFilter {
  return new EqualityFilter({ attribute, value: Buffer.from(value as string) });
}

async function findOne(
  client: BoundClient,
  config: DirectoryConfig,
  filters: Filter[],
): Promise<Resolved> {
  if (filters.length === 0) return { kind: 'unknown' };
  const filter = new AndFilter({
    filters: [parseFilter(config.filters.user), new OrFilter({ filters })],
  });
  const { entries, isMore } = await client.searchSome(config.baseDn, {
    scope: 'sub',
    filter,
    attributes: [config.attributes.uniqueId],
    limit: 1,
  });
  const [entry] = entries;
  if (isMore) return { kind: 'ambiguous' };
  return entry ? toFound(entry, config) : { kind: 'unknown' };
}

async function resolveDn(
  client: BoundClient,
  config: DirectoryConfig,
  name: string,
): Promise<Resolved> {
  const key = keyOf(name);
  const baseKey = keyOf(config.baseDn);
  if (key === null || baseKey === null || !isUnder(key, baseKey)) return { kind: 'unknown' };
  try {
    const { entries } = await client.search(name, {
      scope: 'base',
      filter: parseFilter(config.filters.user),
      attributes: [config.attributes.uniqueId],
    });
    const [entry] = entries;
    // What is not called so was found by another spelling than ours: nobody's name.
    if (!entry || entries.length > 1 || keyOf(entry.dn) !== key) return { kind: 'unknown' };
    return toFound(entry, config);
  } catch (error) {
    if (error instanceof DirectoryError && error.fault === 'base_dn') return { kind: 'unknown' };
    throw error;
  }
}

function toFound(entry: Entry, config: DirectoryConfig): Resolved {
  const object = readObject(entry, config.attributes);
  if (object === null) {
    const why = `does not show the ${config.attributes.uniqueId} of ${entry.dn.slice(0, 200)}`;
    throw new DirectoryError('rights', `the directory ${why}`);
  }
  return { kind: 'found', object, dn: entry.dn };
}

function keyOf(dn: string): string | null {
  try {
    return dnKey(dn);
  } catch {
    return null;
  }
}
