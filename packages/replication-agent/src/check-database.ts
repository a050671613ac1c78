import type { Database } from '@countersign/database';
import { critical, fine, type Finding } from '@countersign/doctor/finding';

/** Without these a power cut can leave tables that nobody wrote. */
const SAFE = ['fsync', 'full_page_writes'];

/** Whether PostgreSQL answers, and keeps what it said it kept. */
export async function checkDatabase(db: Database): Promise<Finding[]> {
  const [about] = await db.sql<{ version: string }[]>`
    select current_setting('server_version') as version`;
  const unsafe = await db.sql<{ name: string }[]>`
    select name from pg_settings
    where name in ${db.sql(SAFE)} and setting = 'off' order by name`;
  if (unsafe.length === 0) return [fine('database', `PostgreSQL ${about!.version} answers`)];
  return unsafe.map(({ name }) =>
    critical(
      'database',
      `PostgreSQL runs with ${name} off: a power cut may damage its tables for good`,
      `psql: alter system set ${name} = on; select pg_reload_conf(); then countersign doctor`,
    ),
  );
}
