import { settingsFrom, usernameKey } from '@countersign/verification';
import type {
  ApplicationDocument,
  DirectoryDocument,
  RadiusClientDocument,
  RadiusTargetDocument,
  Settings,
  SettingsDocument,
} from '@countersign/verification';
import type { Database } from './open-database.ts';

export type ReadSettings = {
  settings: Settings;
  /** By the key that {@link usernameKey} makes of the name: `findApplication` looks one up. */
  applications: Map<string, ApplicationDocument>;
  /** By name. */
  directories: DirectoryDocument[];
  /** By name. */
  radiusClients: RadiusClientDocument[];
  /** By name. */
  radiusTargets: RadiusTargetDocument[];
  /** Of the newest change of any of them. */
  revision: number;
};

/**
 * The settings in force, the company's and all applications', the directories, who asks over RADIUS and is asked, and
 * the revision they are of, from one snapshot.
 */
export async function readSettings(db: Database): Promise<ReadSettings> {
  const [row] = await db.sql<
    {
      revision: number;
      documents: SettingsDocument[];
      applications: ApplicationDocument[];
      directories: DirectoryDocument[];
      radiusClients: RadiusClientDocument[];
      radiusTargets: RadiusTargetDocument[];
    }[]
  >`
    select coalesce((select settings_revision from applied), 0) as revision,
      coalesce((select jsonb_agg(document) from settings_groups), '[]') as documents,
      coalesce((select jsonb_agg(document order by revision) from applications), '[]')
        as applications,
      coalesce((select jsonb_agg(document order by document ->> 'name', id) from directories), '[]')
        as directories,
      coalesce((select jsonb_agg(document order by document ->> 'name', id) from radius_clients), '[]')
        as "radiusClients",
      coalesce((select jsonb_agg(document order by document ->> 'name', id) from radius_targets), '[]')
        as "radiusTargets"`;
  return {
    settings: settingsFrom(row?.documents ?? []),
    // Two have one name only while a replica catches up with a renaming: the later one is right.
    applications: new Map(row?.applications.map((each) => [usernameKey(each.name), each])),
    directories: row?.directories ?? [],
    radiusClients: row?.radiusClients ?? [],
    radiusTargets: row?.radiusTargets ?? [],
    revision: row?.revision ?? 0,
  };
}
