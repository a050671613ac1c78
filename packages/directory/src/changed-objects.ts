import type { BoundClient } from './bound-client.ts';
import { readObject } from './read-person.ts';
import { readEntries, userFilter } from './reading.ts';
import type { Changes, DirectoryConfig } from './types.ts';

/** With more, reading everything is quicker. */
export const CHANGES_MAX = 20_000;

export function fullNeeded(why: string): Changes {
  return { kind: 'full needed', why };
}

export const tooManyChanges = fullNeeded(`more than ${CHANGES_MAX} objects changed`);

/**
 * People below containers that were renamed or moved: their DNs changed, which no directory counts
 * as a change of theirs.
 */
export async function addPeopleBelow(
  client: BoundClient,
  config: DirectoryConfig,
  of: { containers: readonly string[]; changed: Set<string> },
): Promise<void> {
  const query = { filter: userFilter(config), attributes: [config.attributes.uniqueId] };
  for (const base of of.containers) {
    for await (const entries of readEntries(client, config, { ...query, base })) {
      for (const entry of entries) {
        const object = readObject(entry, config.attributes);
        if (object !== null) of.changed.add(object);
      }
      if (of.changed.size > CHANGES_MAX) return;
    }
  }
}
