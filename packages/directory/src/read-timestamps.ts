import { AndFilter, GreaterThanEqualsFilter, type Filter } from 'ldapts';

import { type BoundClient, type Entry, readText } from './bound-client.ts';
import { addPeopleBelow, CHANGES_MAX, fullNeeded, tooManyChanges } from './changed-objects.ts';
import { parseFilter } from './parse-filter.ts';
import { readObject } from './read-person.ts';
import { readEntries, type Reading } from './reading.ts';
import type { Changes, DirectoryConfig } from './types.ts';

// What is written in the second of the newest change after we read is not missed, nor what another
// server wrote and this one was told of late.
const OVERLAP_MS = 5_000;
// Until a newest change was read again so long after it was first seen; then only what is newer.
const SETTLED_AFTER_MS = 10_000;

/**
 * Changes since a time of the server, never of ours; null: none, only the time of now. Written is
 * the newest change and, after a slash, the second when we first saw it, 0 when it is settled.
 */
export async function readTimestamps(
  { config, withConnection }: Reading,
  cursor: string | null,
): Promise<Changes> {
  const place = cursor === null ? null : readPlace(cursor);
  if (cursor !== null && place === null) return fullNeeded('the time of the last reading is lost');
  if (place && isAhead(place.newestAt)) return fullNeeded('the last reading was dated ahead');
  return await withConnection((client) => readSince(client, config, place));
}

// A change that its server dated further ahead of us than this says nothing of where others are.
const AHEAD_MS = 10 * 60_000;

type Place = { newestAt: number; seenAt: number | 'settled' };

async function readSince(
  client: BoundClient,
  config: DirectoryConfig,
  place: Place | null,
): Promise<Changes> {
  const names = ATTRIBUTES[config.type];
  const since = place === null ? null : readFrom(place);
  const within = (filter: string): Filter => {
    const parsed = parseFilter(filter);
    if (since === null) return parsed;
    const newer = new GreaterThanEqualsFilter({
      attribute: names.modified,
      value: writeTime(since, config.type),
    });
    return new AndFilter({ filters: [newer, parsed] });
  };
  const found = { groups: [] as Entry[], containers: [] as Entry[], all: [] as Entry[] };
  let newestAt = place?.newestAt ?? null;
  // Whoever leaves the user filter changed too. "Neither group nor container" would find nothing
  // where the server does not know a class that these name (RFC 4511 section 4.5.1.7).
  const { group, container } = config.filters;
  const questions = { groups: group, containers: container, all: '(objectClass=*)' };
  for (const [kind, filter] of Object.entries(questions)) {
    if (place === null && kind !== 'all') continue;
    const query = {
      filter: within(filter),
      attributes: [config.attributes.uniqueId, names.modified, names.created],
    };
    for await (const entries of readEntries(client, config, query)) {
      for (const entry of entries) {
        const modifiedAt = readTime(entry, names.modified);
        if (modifiedAt === null || isAhead(modifiedAt)) continue;
        newestAt = Math.max(newestAt ?? modifiedAt, modifiedAt);
      }
      if (place === null) continue;
      found[kind as keyof typeof found].push(...entries);
      if (found.all.length > CHANGES_MAX) {
        return { ...tooManyChanges, cursor: cursorOf(newestAt ?? 0, place) };
      }
    }
  }
  if (newestAt === null) return fullNeeded(`the directory shows no ${names.modified}`);

  const noPeople = new Set([...found.groups, ...found.containers].map(({ dn }) => dn));
  const people = found.all.filter(({ dn }) => !noPeople.has(dn));
  const changed = new Set<string>();
  for (const entry of people) {
    const object = readObject(entry, config.attributes);
    if (object !== null) changed.add(object);
  }
  const moved = found.containers.filter((entry) => {
    const createdAt = readTime(entry, names.created);
    return createdAt === null || since === null || createdAt < since;
  });
  await addPeopleBelow(client, config, { containers: moved.map(({ dn }) => dn), changed });
  const cursor = cursorOf(newestAt, place);
  if (changed.size > CHANGES_MAX) return { ...tooManyChanges, cursor };
  return {
    kind: 'changes',
    changed: [...changed],
    gone: [],
    areRemovalsTold: false,
    haveGroupsChanged: found.all.length > 0,
    cursor,
  };
}

// Active Directory's modifyTimestamp is computed, and cannot be searched quickly.
const ATTRIBUTES = {
  'active-directory': { modified: 'whenChanged', created: 'whenCreated' },
  ldap: { modified: 'modifyTimestamp', created: 'createTimestamp' },
};

function readFrom({ newestAt, seenAt }: Place): number {
  return seenAt === 'settled' ? newestAt + 1000 : newestAt - OVERLAP_MS;
}

function isAhead(at: number): boolean {
  return at > Date.now() + AHEAD_MS;
}

// Our clock only tells how long ago we saw it, never what the directory is asked for.
function whenSeen(newestAt: number, before: Place | null): Place['seenAt'] {
  if (newestAt !== before?.newestAt) return Date.now();
  const { seenAt } = before;
  return seenAt === 'settled' || Date.now() - seenAt >= SETTLED_AFTER_MS ? 'settled' : seenAt;
}

function readPlace(cursor: string): Place | null {
  const [newest = '', seen = ''] = cursor.split('/');
  const newestAt = parseTime(newest);
  if (newestAt === null || !/^\d{1,11}$/.test(seen)) return null;
  return { newestAt, seenAt: seen === '0' ? 'settled' : Number(seen) * 1000 };
}

function cursorOf(newestAt: number, before: Place | null) {
  return writePlace({ newestAt, seenAt: whenSeen(newestAt, before) });
}

function writePlace({ newestAt, seenAt }: Place) {
  const seen = seenAt === 'settled' ? 0 : Math.floor(seenAt / 1000);
  return { kind: 'timestamps' as const, since: `${writeTime(newestAt, 'ldap')}/${seen}` };
}

function readTime(entry: Entry, attribute: string): number | null {
  return parseTime(readText(entry, attribute) ?? '');
}

/** GeneralizedTime in UTC, RFC 4517 section 3.3.13, to the second. */
function parseTime(text: string): number | null {
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:[.,]\d{1,9})?Z$/.exec(text);
  if (!match) return null;
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

function writeTime(at: number, type: DirectoryConfig['type']): string {
  const text = new Date(at).toISOString().replace(/[-:T]|\.\d+Z$/g, '');
  return type === 'active-directory' ? `${text}.0Z` : `${text}Z`;
}
