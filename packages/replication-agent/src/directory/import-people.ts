import type { DirectoryConfig } from '@countersign/directory';
import type { PurposeKey } from '@countersign/keys';
import { directoryConfigOf } from '@countersign/operations';
import type { DirectoryDocument } from '@countersign/verification';
import { refuse, type Refusal } from '../commands/plan.ts';
import type { DirectoryReader } from './directory-reader.ts';
import { BY_HAND, type Treatment } from './merge-person.ts';
import { checkContainers, itemOf, placeItems } from './place-items.ts';
import type { Wish } from './plan-slice.ts';
import { problemOf } from './problem-of.ts';
import { SyncStoppedError, writeSlices, type WriterOptions } from './write-slices.ts';

export const IMPORT_OBJECTS_MAX = 500;

export type ImportResult = {
  object: string;
  username: string | null;
  outcome: 'added' | 'changed' | 'unchanged' | 'refused';
  detail?: string;
};

export type ImportOptions = {
  actor: string;
  seedKey: PurposeKey;
  open(config: DirectoryConfig): DirectoryReader;
  writer: WriterOptions;
};

/** Chosen one by one: an administrator vouches for their phones. */
const CHOSEN: Treatment = {
  ...BY_HAND,
  phones: [
    { kind: 'mobile', use: 'primary' },
    { kind: 'business', use: 'primary' },
  ],
  vouchForPhones: 'import',
};

/**
 * Makes users of people by their objects, whether they are in a sync item or not. What an administrator would have to
 * approve of those who are users already is left to the synchronisation.
 */
export async function importPeople(
  directory: DirectoryDocument,
  objects: readonly string[],
  { actor, seedKey, open, writer }: ImportOptions,
): Promise<ImportResult[] | Refusal> {
  try {
    await using reader = open(directoryConfigOf(directory, seedKey));
    await checkContainers(directory, reader);
    const placed = await placeItems(directory, reader);
    const wanted = [...new Set(objects)];
    const people = await reader.readByObjects(wanted);
    const wishes = [...people.values()].map((person): Wish => {
      const item = itemOf(person, placed);
      const treatment = item ?? { ...CHOSEN, name: `import by ${actor}`.slice(0, 200) };
      return { kind: 'person', object: person.object, person, item, treatment, isHeld: true };
    });
    const about = { directory, actor, isFinal: true, allowsRisk: false };
    const { changes, refused } = await writeSlices(wishes, about, writer);
    return wanted.map((object): ImportResult => {
      const change = changes.findLast((one) => one.object === object);
      const why = refused.find((one) => one.object === object)?.why;
      if (why !== undefined) return { object, username: null, outcome: 'refused', detail: why };
      if (change?.after) {
        const outcome = change.effect === 'added' ? 'added' : 'changed';
        return { object, username: change.after.username, outcome };
      }
      if (people.has(object)) return { object, username: null, outcome: 'unchanged' };
      const detail = 'the directory has no such person';
      return { object, username: null, outcome: 'refused', detail };
    });
  } catch (error) {
    if (error instanceof SyncStoppedError) return refuse(503, 'busy', error.message);
    return refuse(502, 'directory_unavailable', problemOf(error));
  }
}
