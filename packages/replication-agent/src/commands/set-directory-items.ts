import { isDeepStrictEqual } from 'node:util';
import {
  itemEdit,
  SYNC_ITEM_DEFAULTS,
  SYNC_ITEMS_MAX,
  type ItemEdit,
  type ItemPlace,
  type SyncItem,
} from '@countersign/verification';
import { z } from 'zod';
import { deriveId } from './derive-id.ts';
import { directoryOf, findNamed } from './find-directory.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

/** One edit of the ordered list: two operators at once cannot undo each other's. */
export const setDirectoryItemsArgs = z.strictObject({ name: z.string().max(64), edit: itemEdit });

export async function setDirectoryItems(
  context: PlanContext,
  { name, edit }: z.output<typeof setDirectoryItemsArgs>,
): Promise<Plan> {
  const directory = await directoryOf(context, name);
  if ('kind' in directory) return directory;
  const edited = editItems(directory.items, edit, deriveId(context.commandId, 'sync item'));
  if ('kind' in edited) return edited;
  const { items, item } = edited;
  const result = { id: directory.id, item: item.id };
  if (isDeepStrictEqual(items, directory.items)) return { kind: 'unchanged', result };
  const content = { ...directory, items, updatedAt: context.now.toISOString() };
  const told = edit.do === 'set' ? { changes: edit.changes } : {};
  const place = edit.do === 'remove' ? {} : { position: items.indexOf(item) + 1 };
  return {
    kind: 'change',
    document: { kind: 'directory', id: directory.id, removed: false, content },
    result,
    event: {
      userId: null,
      username: null,
      details: {
        directory: directory.name,
        item: item.name,
        what: edit.do,
        ...(edit.do === 'add' && { scope: item.scope, onRemoval: item.onRemoval }),
        ...told,
        ...place,
      },
    },
  };
}

type Edited = { items: SyncItem[]; item: SyncItem };

function editItems(items: SyncItem[], edit: ItemEdit, newId: string): Edited | Refusal {
  if (edit.do === 'add') return addItem(items, edit, newId);
  const found = findItem(items, edit.item);
  if (!found) return unknownItem(edit.item);
  const others = items.filter((each) => each !== found);
  if (edit.do === 'remove') return { items: others, item: found };
  if (edit.do === 'move') return insert(others, found, edit.place);
  const namesake = edit.changes.name && findItem(others, edit.changes.name);
  if (namesake) return itemNameTaken(namesake.name);
  const update = { ...found.update, ...edit.changes.update };
  const item: SyncItem = { ...found, ...edit.changes, update };
  return { items: items.map((each) => (each === found ? item : each)), item };
}

function addItem(
  items: SyncItem[],
  { item: given, place }: Extract<ItemEdit, { do: 'add' }>,
  id: string,
): Edited | Refusal {
  if (findItem(items, given.name)) return itemNameTaken(given.name);
  if (items.length >= SYNC_ITEMS_MAX) {
    return refuse(409, 'too_many_items', `there are ${SYNC_ITEMS_MAX} already`);
  }
  const update = { ...SYNC_ITEM_DEFAULTS.update, ...given.update };
  const phones = given.phones ?? [...SYNC_ITEM_DEFAULTS.phones];
  return insert(items, { ...SYNC_ITEM_DEFAULTS, ...given, id, phones, update }, place);
}

/** At the end where no place is given. */
function insert(
  others: SyncItem[],
  item: SyncItem,
  place: ItemPlace = { position: others.length + 1 },
): Edited | Refusal {
  if ('position' in place) return { items: others.toSpliced(place.position - 1, 0, item), item };
  const name = 'before' in place ? place.before : place.after;
  const beside = findItem(others, name);
  if (!beside) return unknownItem(name);
  const at = others.indexOf(beside) + ('before' in place ? 0 : 1);
  return { items: others.toSpliced(at, 0, item), item };
}

function findItem(items: SyncItem[], name: string): SyncItem | undefined {
  return findNamed(items, name) ?? items.find(({ id }) => id === name.toLowerCase());
}

function unknownItem(name: string): Refusal {
  return refuse(404, 'unknown_item', `no sync item is called ${name}`);
}

function itemNameTaken(name: string): Refusal {
  return refuse(409, 'item_name_taken', `a sync item called ${name} exists already`);
}
