import { chooseItem, dnKey, type PlacedItem } from '@countersign/directory';
import type { DirectoryDocument, SyncItem } from '@countersign/verification';
import type { DirectoryReader } from './directory-reader.ts';

/** What a directory said is not to be built on: nothing is concluded from it. The message is for an administrator. */
export class UnusableAnswerError extends Error {
  override readonly name = 'UnusableAnswerError';
}

export type Placed = PlacedItem & { item: SyncItem };

/**
 * The sync items with what their scopes come to in the directory.
 * @throws UnusableAnswerError if the container of one is not there: its people are not gone, it was renamed
 */
export async function placeItems(
  { items }: Pick<DirectoryDocument, 'items'>,
  reader: Pick<DirectoryReader, 'readMembers'>,
): Promise<Placed[]> {
  const placed: Placed[] = [];
  for (const item of items) {
    const { id, scope } = item;
    if (scope.kind === 'domain') placed.push({ id, item, kind: 'domain' });
    else if (scope.kind === 'container') {
      placed.push({ id, item, kind: 'container', dnKey: dnKey(scope.dn) });
    } else {
      const members = await reader.readMembers(scope.dn);
      placed.push({ id, item, kind: 'group', members });
    }
  }
  return placed;
}

/** @throws UnusableAnswerError if the container of an item is not there: its people are not gone, it was renamed */
export async function checkContainers(
  { items }: Pick<DirectoryDocument, 'items'>,
  reader: Pick<DirectoryReader, 'hasContainer'>,
): Promise<void> {
  for (const { name, scope } of items) {
    if (scope.kind !== 'container' || (await reader.hasContainer(scope.dn))) continue;
    throw new UnusableAnswerError(
      `sync item ${name}: there is no container ${scope.dn}; was it renamed or moved? Nobody was disabled or removed`,
    );
  }
}

export function itemOf(person: { dnKey: string }, placed: readonly Placed[]): SyncItem | null {
  return chooseItem(person, placed)?.item ?? null;
}
