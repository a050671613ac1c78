import { settingsFrom } from '@countersign/verification';
import type { Settings, SettingsDocument } from '@countersign/verification';
import type { Database } from './open-database.ts';

/** The settings in force and the revision they are of, from one snapshot. */
export async function readSettings(
  db: Database,
): Promise<{ settings: Settings; revision: number }> {
  const [row] = await db.sql<{ revision: number; documents: SettingsDocument[] }[]>`
    select coalesce((select settings_revision from applied), 0) as revision,
      coalesce((select jsonb_agg(document) from settings_groups), '[]') as documents`;
  return { settings: settingsFrom(row?.documents ?? []), revision: row?.revision ?? 0 };
}
