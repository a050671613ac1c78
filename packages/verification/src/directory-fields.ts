import { z } from 'zod';
import { directoryDocument, directoryName, syncItem } from './directory.ts';

/**
 * What operators say of a directory, and of its sync items: all of it may be left out where there is something to fill
 * it with. The password stands in the open here, and sealed in the document.
 */

const { shape } = directoryDocument;
const { attributes } = shape;

export const directoryPassword = z
  .string()
  .min(1)
  .refine((text) => Buffer.byteLength(text, 'utf8') <= 1024, 'has more than 1024 bytes');

export const directoryFields = z.strictObject({
  domains: shape.domains.optional(),
  servers: shape.servers.optional(),
  startTls: shape.startTls.optional(),
  certificates: shape.certificates.partial().optional(),
  /** Null: anonymous. */
  account: z
    .strictObject({
      name: z
        .string()
        .min(1)
        .max(1024)
        .refine((text) => text.trim() === text, 'begins or ends with a space')
        .optional(),
      password: directoryPassword.optional(),
    })
    .nullable()
    .optional(),
  baseDn: shape.baseDn.optional(),
  filters: shape.filters.partial().optional(),
  attributes: attributes.extend({ phones: attributes.shape.phones.partial() }).partial().optional(),
  defaultCountry: shape.defaultCountry.optional(),
  connectMs: shape.connectMs.optional(),
  answerMs: shape.answerMs.optional(),
  pageSize: shape.pageSize.optional(),
  peopleMax: shape.peopleMax.optional(),
  sync: shape.sync.partial().optional(),
});
export type DirectoryFields = z.infer<typeof directoryFields>;

/** A directory that is not one yet. */
export const newDirectory = directoryFields.extend({
  name: directoryName,
  type: shape.type,
  servers: shape.servers,
  baseDn: shape.baseDn,
});
export type NewDirectory = z.infer<typeof newDirectory>;

export const syncItemFields = syncItem
  .omit({ id: true })
  .extend({ update: syncItem.shape.update.partial() })
  .partial();
export type SyncItemFields = z.infer<typeof syncItemFields>;

export const newSyncItem = syncItemFields.extend({
  name: directoryName,
  scope: syncItem.shape.scope,
});
export type NewSyncItem = z.infer<typeof newSyncItem>;

/** Where in the order of priority: before or behind another, or at a place counted from 1. */
export const itemPlace = z.union([
  z.strictObject({ before: directoryName }),
  z.strictObject({ after: directoryName }),
  z.strictObject({ position: z.int().min(1).max(1000) }),
]);
export type ItemPlace = z.infer<typeof itemPlace>;

/** What becomes of the list of sync items; another item is named by its name or id. */
export const itemEdit = z.discriminatedUnion('do', [
  z.strictObject({ do: z.literal('add'), item: newSyncItem, place: itemPlace.optional() }),
  z.strictObject({ do: z.literal('set'), item: directoryName, changes: syncItemFields }),
  z.strictObject({ do: z.literal('move'), item: directoryName, place: itemPlace }),
  z.strictObject({ do: z.literal('remove'), item: directoryName }),
]);
export type ItemEdit = z.infer<typeof itemEdit>;

/** An item of which only the name and whose people they are was said. */
export const SYNC_ITEM_DEFAULTS = {
  enabled: true,
  method: null,
  language: null,
  phones: [{ kind: 'mobile', use: 'primary' }],
  vouchForPhones: 'import',
  mailOnImport: false,
  onRemoval: 'disable',
  update: {
    username: 'always',
    names: 'always',
    mail: 'always',
    description: 'always',
    phones: 'always',
    method: 'import',
    language: 'import',
  },
} as const satisfies Partial<z.infer<typeof syncItem>>;
