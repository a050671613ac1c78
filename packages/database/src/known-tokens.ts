import type { Database } from './open-database.ts';
import { jsonText } from './json-text.ts';

/**
 * Those of these serial numbers (whatever their case) and fingerprints that any user's tokens have, in lower case.
 * Both come from indexes.
 */
export async function findKnownTokens(
  db: Database,
  marks: { serials: readonly string[]; fingerprints: readonly string[] },
): Promise<Set<string>> {
  const { serials, fingerprints } = marks;
  if (serials.length + fingerprints.length === 0) return new Set();
  const rows = await db.sql<{ mark: string }[]>`
    select mark from jsonb_array_elements_text(${jsonText(fingerprints)}::text::jsonb) as f(mark)
    where exists (
      select from users
      where jsonb_path_exists(document, '$.authenticators[*].fingerprint')
        and jsonb_path_query_array(document, '$.authenticators[*].fingerprint')
          @> jsonb_build_array(mark))
    union all
    select lower(mark) from jsonb_array_elements_text(${jsonText(serials)}::text::jsonb) as s(mark)
    where exists (
      select from users
      where jsonb_path_exists(document, '$.authenticators[*].serial')
        and jsonb_path_query_array(lower(document ->> 'authenticators')::jsonb, '$[*].serial')
          @> jsonb_build_array(lower(mark)))`;
  return new Set(rows.map(({ mark }) => mark));
}
