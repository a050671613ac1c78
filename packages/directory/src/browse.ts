import { AndFilter, OrFilter, SubstringFilter } from 'ldapts';
import type { Filter } from 'ldapts';
import { readText } from './bound-client.ts';
import type { BoundClient, Entry } from './bound-client.ts';
import { DirectoryError } from './directory-error.ts';
import { dnKey, isUnder } from './dn.ts';
import { parseFilter } from './parse-filter.ts';
import { personAttributes, readPerson } from './read-person.ts';
import type { DirectoryConfig, Person } from './types.ts';

const LIST_MAX = 500;
const TEXT_LENGTH_MAX = 200;

export type Named = { dn: string; name: string };

/** The containers right below one of them, or below the base; by name, at most 500. */
export async function listContainers(
  client: BoundClient,
  config: DirectoryConfig,
  under: string | null,
): Promise<{ containers: Named[]; isMore: boolean }> {
  const { entries, isMore } = await client.searchSome(checkUnder(config, under), {
    scope: 'one',
    filter: config.filters.container,
    attributes: NAMES,
    limit: LIST_MAX,
  });
  return { containers: entries.map(toNamed).sort(byName), isMore };
}

/** The groups that have a text in their name, or all; by name, at most 500. */
export async function listGroups(
  client: BoundClient,
  config: DirectoryConfig,
  text: string,
): Promise<{ groups: Named[]; isMore: boolean }> {
  const { entries, isMore } = await client.searchSome(config.baseDn, {
    scope: 'sub',
    filter: having(config.filters.group, ['cn'], text),
    attributes: NAMES,
    limit: LIST_MAX,
  });
  return { groups: entries.map(toNamed).sort(byName), isMore };
}

/** The people that have a text in one of their names; at most 500. Who has no id is not shown. */
export async function searchPeople(
  client: BoundClient,
  config: DirectoryConfig,
  { text = '', under, limit }: { text?: string; under?: string; limit: number },
): Promise<{ people: Person[]; isMore: boolean }> {
  const { usernames, shortName, displayName, firstName, lastName, mail } = config.attributes;
  const names = [...usernames, shortName, displayName, firstName, lastName, mail];
  const attributes = [...new Set(names.filter((name) => name !== null))];
  const { entries, isMore } = await client.searchSome(checkUnder(config, under ?? null), {
    scope: 'sub',
    filter: having(config.filters.user, attributes, text),
    attributes: personAttributes(config),
    limit: Math.max(1, Math.min(limit, LIST_MAX)),
  });
  const people = entries.flatMap((entry) => {
    const person = readPerson(entry, config);
    return 'refused' in person ? [] : [person];
  });
  return { people, isMore };
}

const NAMES = ['ou', 'cn', 'name', 'dc', 'o'];

/** The filter of the configuration, and the text anywhere in one of the attributes. */
function having(filter: string, attributes: string[], text: string): Filter {
  const wanted = text.trim().slice(0, TEXT_LENGTH_MAX);
  if (wanted === '') return parseFilter(filter);
  const filters = attributes.map((attribute) => new SubstringFilter({ attribute, any: [wanted] }));
  return new AndFilter({ filters: [parseFilter(filter), new OrFilter({ filters })] });
}

function checkUnder(config: DirectoryConfig, under: string | null): string {
  if (under === null) return config.baseDn;
  try {
    if (isUnder(dnKey(under), dnKey(config.baseDn))) return under;
  } catch (error) {
    throw new DirectoryError('base_dn', 'this is no distinguished name', { cause: error });
  }
  throw new DirectoryError('base_dn', `this is not below ${config.baseDn}`);
}

function toNamed(entry: Entry): Named {
  const name = NAMES.map((attribute) => readText(entry, attribute)).find((text) => text !== null);
  return { dn: entry.dn, name: name ?? entry.dn };
}

function byName(a: Named, b: Named): number {
  return a.name.localeCompare(b.name);
}
