import type { SyncItem } from '@countersign/verification';

export const ITEM_HEADINGS = [
  '#',
  'NAME',
  'WHOSE',
  'METHOD',
  'LANGUAGE',
  'PHONES',
  'ON REMOVAL',
  'MAIL',
  'USERS',
];

/** Sync items in their order, a row for each. */
export function rowsOfItems(items: readonly SyncItem[]): string[][] {
  return items.map((item, index) => [
    String(index + 1),
    item.name,
    whoseOf(item),
    item.method ?? 'default',
    item.language ?? 'default',
    item.phones.map(({ kind, use }) => `${kind}:${use}`).join(' ') || '-',
    item.onRemoval,
    item.mailOnImport ? 'at import' : '-',
    item.enabled ? 'enabled' : 'disabled',
  ]);
}

/** One item, with what a row has no room for. */
export function linesOfItem(item: SyncItem): string[] {
  const updates = Object.entries(item.update).map(([what, when]) => `${what}=${when}`);
  return [
    `whose people          ${whoseOf(item)}`,
    `users                 ${item.enabled ? 'may sign in' : 'may not sign in'}`,
    `method                ${item.method ?? 'default'}`,
    `language              ${item.language ?? 'default'}`,
    `phones                ${item.phones.map(({ kind, use }) => `${kind}:${use}`).join(' ') || 'none'}`,
    `vouched-for phones    ${item.vouchForPhones}`,
    `mail at import        ${item.mailOnImport ? 'yes' : 'no'}`,
    `on removal            ${item.onRemoval}`,
    `update                ${updates.join(' ')}`,
    `id                    ${item.id}`,
  ];
}

function whoseOf({ scope }: SyncItem): string {
  return scope.kind === 'domain' ? 'everybody' : `${scope.kind} ${scope.dn}`;
}
