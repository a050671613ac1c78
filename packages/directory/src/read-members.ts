import { AndFilter, EqualityFilter, ExtensibleFilter, OrFilter, type Filter } from 'ldapts';

import type { BoundClient, Entry } from './bound-client.ts';
import { DirectoryError } from './directory-error.ts';
import { dnKey, findDnKey } from './dn.ts';
import { readNamingContext } from './naming-context.ts';
import { parseFilter } from './parse-filter.ts';
import {
  batchFilters,
  checkCount,
  readEntries,
  readEntry,
  userFilter,
  type Reading,
} from './reading.ts';
import type { DirectoryConfig } from './types.ts';

const GROUPS_MAX = 20_000;

/**
 * The keys of the DNs of all people in a group and in the groups in it. A person is in Active
 * Directory's primary group too, which does not name them. Throws DirectoryError where the group is
 * not there or is none, or where this is not certainly all.
 */
export async function readMembers(
  { config, withConnection }: Reading,
  groupDn: string,
): Promise<Set<string>> {
  return await withConnection(async (client) => {
    const group = await readEntry(client, groupDn, {
      filter: parseFilter(config.filters.group),
      attributes: ['1.1'],
    });
    if (!group) {
      const why = 'is not there, is no group, or is not shown to this account';
      throw new DirectoryError('answer', `the group ${groupDn} of ${config.name} ${why}`);
    }
    return config.type === 'active-directory'
      ? await readByChain(client, config, group.dn)
      : await readByClosure(client, config, group.dn);
  });
}

// LDAP_MATCHING_RULE_TRANSITIVE_EVAL: the directory follows groups in groups, in circles too.
const inChain = (groupDn: string) =>
  new ExtensibleFilter({
    matchType: 'memberOf',
    rule: '1.2.840.113556.1.4.1941',
    value: groupDn,
  });

async function readByChain(client: BoundClient, config: DirectoryConfig, groupDn: string) {
  const members = new Set<string>();
  const take = async (filter: Filter) => {
    const both = new AndFilter({ filters: [filter, userFilter(config)] });
    for await (const entries of readEntries(client, config, {
      filter: both,
      attributes: ['1.1'],
    })) {
      addKeys(entries, members);
      checkCount(members.size, config);
    }
  };
  await take(inChain(groupDn));
  const rids = await readGroupIds(client, config, groupDn);
  for (let at = 0; at < rids.length; at += 100) {
    const filters = rids
      .slice(at, at + 100)
      .map((rid) => new EqualityFilter({ attribute: 'primaryGroupID', value: String(rid) }));
    await take(new OrFilter({ filters }));
  }
  return members;
}

/** What `primaryGroupID` is of those in the group, or in a group in it. */
async function readGroupIds(client: BoundClient, config: DirectoryConfig, groupDn: string) {
  const rids = new Set<number>();
  const take = (sid: Buffer | undefined) => {
    const rid = sid ? readDomainRid(sid) : null;
    if (rid !== null) rids.add(rid);
  };
  const attributes = ['objectSid'];
  const own = await readEntry(client, groupDn, {
    filter: parseFilter('(objectClass=group)'),
    attributes,
  });
  take(own?.values.get('objectsid')?.[0]);
  const filter = new AndFilter({ filters: [parseFilter('(objectClass=group)'), inChain(groupDn)] });
  const base = await readNamingContext(client, config);
  for await (const entries of readEntries(client, config, { base, filter, attributes })) {
    for (const { values } of entries) take(values.get('objectsid')?.[0]);
    if (rids.size > GROUPS_MAX) throw tooManyGroups(groupDn);
  }
  return [...rids];
}

/** The last number of S-1-5-21-…: MS-DTYP 2.4.2.2. Those of S-1-5-32 mean other groups. */
function readDomainRid(sid: Buffer): number | null {
  if (sid.length !== 28 || sid[0] !== 1 || sid[1] !== 5) return null;
  return sid.readUInt32LE(8) === 21 ? sid.readUInt32LE(24) : null;
}

const MEMBER_ATTRIBUTES = ['member', 'uniqueMember', 'memberUid'];

async function readByClosure(client: BoundClient, config: DirectoryConfig, groupDn: string) {
  const groups = await readGroups(client, config);
  const members = new Set<string>();
  const uids = new Map<string, Buffer>();
  const reached = new Set([dnKey(groupDn)]);
  for (const key of reached) {
    const dn = groups.get(key) ?? groupDn;
    const filter = parseFilter(config.filters.group);
    const group = await readEntry(client, dn, { filter, attributes: MEMBER_ATTRIBUTES });
    // Removed since the groups were listed: what it held may be half of the answer.
    if (!group) throw new DirectoryError('answer', `the group ${dn} vanished while it was read`);
    for (const attribute of ['member', 'uniquemember']) {
      for (const value of group.values.get(attribute) ?? []) {
        const memberKey = keyOfMember(value);
        if (memberKey === null) continue;
        if (groups.has(memberKey)) reached.add(memberKey);
        else members.add(memberKey);
      }
    }
    for (const uid of group.values.get('memberuid') ?? []) uids.set(uid.toString('hex'), uid);
    // Members that are no people do not count as such: there may be more of them.
    checkCount((members.size + uids.size) / 2, config);
  }
  for (const filter of batchFilters(config, 'uid', [...uids.values()])) {
    for await (const entries of readEntries(client, config, { filter, attributes: ['1.1'] })) {
      addKeys(entries, members);
    }
  }
  return members;
}

async function readGroups(client: BoundClient, config: DirectoryConfig) {
  const groups = new Map<string, string>();
  const query = { filter: parseFilter(config.filters.group), attributes: ['1.1'] };
  for await (const entries of readEntries(client, config, query)) {
    for (const { dn } of entries) groups.set(findDnKey(dn) ?? '', dn);
    if (groups.size > GROUPS_MAX) throw tooManyGroups(config.baseDn);
  }
  return groups;
}

// A uniqueMember may end with a bit string that tells names apart: RFC 4517 section 3.3.21.
function keyOfMember(value: Buffer): string | null {
  return findDnKey(value.toString('utf8').replace(/#'[01]*'B$/, ''));
}

/** A person whose DN cannot be read cannot be taken over either. */
function addKeys(entries: readonly Entry[], members: Set<string>): void {
  for (const { dn } of entries) {
    const key = findDnKey(dn);
    if (key !== null) members.add(key);
  }
}

function tooManyGroups(where: string): DirectoryError {
  return new DirectoryError('answer', `more than ${GROUPS_MAX} groups in ${where}`);
}
