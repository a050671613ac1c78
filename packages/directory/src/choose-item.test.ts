import { expect, it } from 'vitest';

import { chooseItem, type PlacedItem } from './choose-item.ts';
import { dnKey } from './dn.ts';

const alice = { dnKey: dnKey('CN=Alice,OU=Staff,DC=x') };
const domain: PlacedItem = { id: 'domain', kind: 'domain' };
const staff: PlacedItem = { id: 'staff', kind: 'container', dnKey: dnKey('ou=STAFF,dc=x') };
const group: PlacedItem = { id: 'group', kind: 'group', members: new Set([alice.dnKey]) };
const others: PlacedItem[] = [
  { id: 'taff', kind: 'container', dnKey: dnKey('ou=taff,dc=x') },
  { id: 'empty', kind: 'group', members: new Set() },
];

it.each([
  [[domain, staff, group], 'domain'],
  [[...others, staff, domain, group], 'staff'],
  [[...others, group, staff, domain], 'group'],
  [others, undefined],
  [[], undefined],
])('the first item that a person is in decides (%#)', (items, expected) => {
  expect(chooseItem(alice, items)?.id).toBe(expected);
});
