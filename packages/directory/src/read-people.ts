import type { BoundClient, Entry } from './bound-client.ts';
import { DirectoryError } from './directory-error.ts';
import { dnKey, findDnKey, isUnder } from './dn.ts';
import { personAttributes, readObject, readPerson, type RefusedPerson } from './read-person.ts';
import {
  batchFilters,
  checkCount,
  objectValues,
  readEntries,
  readEntry,
  userFilter,
  type Reading,
} from './reading.ts';
import { parseFilter } from './parse-filter.ts';
import { streamPages } from './stream-pages.ts';
import type { DirectoryConfig, Person } from './types.ts';

/** Told of everybody that was found but cannot be taken over: they are not gone. */
export type OnRefused = (person: RefusedPerson) => void;

/**
 * Everybody that the user filter finds below the base DN, page by page, on one connection. Ends
 * only when this was certainly all; DirectoryError otherwise: a limit, a referral, a page that does
 * not come, more than `peopleMax`, an object that comes twice.
 */
export function readPeople(
  { config, withConnection }: Reading,
  signal: AbortSignal,
  onRefused: OnRefused = () => {},
): AsyncGenerator<Person[]> {
  return streamPages(async (give, stop) => {
    const ended = AbortSignal.any([signal, stop]);
    await withConnection(async (client) => {
      const objects = new Set<string>();
      const query = { filter: userFilter(config), attributes: personAttributes(config) };
      for await (const entries of readEntries(client, config, query, ended)) {
        const people = toPeople(entries, { config, objects, onRefused });
        if (people.length > 0) await give(people);
      }
    }, ended);
  });
}

/**
 * People by {@link Person.object}, where the user filter still finds them below the base DN; the
 * others are not in the map. Throws DirectoryError.
 */
export async function readByObjects(
  { config, withConnection }: Reading,
  objects: readonly string[],
  onRefused: OnRefused = () => {},
): Promise<Map<string, Person>> {
  const values = objectValues(config, objects);
  checkCount(values.length, config);
  const people = new Map<string, Person>();
  if (values.length === 0) return people;
  await withConnection(async (client) => {
    const seen = new Set<string>();
    const attributes = personAttributes(config);
    for (const filter of batchFilters(config, config.attributes.uniqueId, values)) {
      for await (const entries of readEntries(client, config, { filter, attributes })) {
        for (const person of toPeople(entries, { config, objects: seen, onRefused })) {
          people.set(person.object, person);
        }
      }
    }
  });
  return people;
}

export const DNS_MAX = 1000;

/** People by DN, where the user filter finds them below the base DN; at most 1,000. Throws DirectoryError. */
export async function readByDns(
  { config, withConnection }: Reading,
  dns: readonly string[],
  onRefused: OnRefused = () => {},
): Promise<Person[]> {
  if (dns.length > DNS_MAX) throw new DirectoryError('answer', 'more than 1,000 DNs at a time');
  const base = dnKey(config.baseDn);
  const attributes = personAttributes(config);
  const inside = dns.filter((dn) => isUnder(dnKey(dn), base));
  if (inside.length === 0) return [];
  return await withConnection(async (client) => {
    const found: Entry[] = [];
    const query = { filter: userFilter(config), attributes };
    for (const dn of new Map(inside.map((one) => [dnKey(one), one])).values()) {
      const entry = await readEntry(client, dn, query);
      if (entry) found.push(entry);
    }
    return toPeople(found, { config, objects: new Set(), onRefused });
  });
}

/**
 * The objects of everybody, with the keys of their DNs: who is not in it is gone. As whole as
 * {@link readPeople}, and those that it would refuse are among them.
 */
export async function listObjects(
  { config, withConnection }: Reading,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  return await withConnection(async (client) => {
    const objects = new Map<string, string>();
    const query = { filter: userFilter(config), attributes: [config.attributes.uniqueId] };
    for await (const entries of readEntries(client, config, query, signal)) {
      for (const entry of entries) {
        const object = readObject(entry, config.attributes);
        if (object === null) throw noObject(config, entry);
        checkNew(object, objects, config);
        objects.set(object, findDnKey(entry.dn) ?? '');
        checkCount(objects.size, config);
      }
    }
    return objects;
  }, signal);
}

/** Whether the container filter finds this DN. Throws DirectoryError where the directory does not say. */
export async function hasContainer(
  { config, withConnection }: Reading,
  dn: string,
): Promise<boolean> {
  const query = { filter: parseFilter(config.filters.container), attributes: ['1.1'] };
  return await withConnection(
    async (client: BoundClient) => (await readEntry(client, dn, query)) !== null,
  );
}

function toPeople(
  entries: readonly Entry[],
  of: { config: DirectoryConfig; objects: Set<string>; onRefused: OnRefused },
): Person[] {
  return entries.flatMap((entry) => {
    const person = readPerson(entry, of.config);
    if (person.object === null) {
      // Nobody knows whose it is: taken for absent, somebody would be disabled for it.
      throw noObject(of.config, entry);
    }
    checkNew(person.object, of.objects, of.config);
    of.objects.add(person.object);
    checkCount(of.objects.size, of.config);
    if (!('refused' in person)) return [person];
    of.onRefused(person);
    return [];
  });
}

function checkNew(object: string, objects: { has(object: string): boolean }, of: DirectoryConfig) {
  if (!objects.has(object)) return;
  const { uniqueId } = of.attributes;
  throw new DirectoryError('answer', `two objects of ${of.name} have the ${uniqueId} ${object}`);
}

function noObject({ name, attributes }: DirectoryConfig, entry: Entry): DirectoryError {
  const dn = entry.dn.slice(0, 200).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?');
  const why = `has no ${attributes.uniqueId} that can be used, or does not show it to this account`;
  return new DirectoryError('answer', `an object of ${name} (${dn}) ${why}`);
}
