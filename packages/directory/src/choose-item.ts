import { isUnder } from './dn.ts';

/** A sync item with what its scope came to in the directory. */
export type PlacedItem = { id: string } & (
  | { kind: 'domain' }
  | { kind: 'container'; dnKey: string }
  /** dnKeys of all people in the group and the groups in it. */
  | { kind: 'group'; members: ReadonlySet<string> }
);

/** The first item, in the order of priority, that a person is in; null: in none. */
export function chooseItem<T extends PlacedItem>(
  person: { dnKey: string },
  items: readonly T[],
): T | null {
  return items.find((item) => isIn(person.dnKey, item)) ?? null;
}

function isIn(key: string, item: PlacedItem): boolean {
  if (item.kind === 'domain') return true;
  if (item.kind === 'container') return isUnder(key, item.dnKey);
  return item.members.has(key);
}
