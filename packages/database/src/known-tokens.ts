import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';

/**
 * Those of these serial numbers (whatever their case) and fingerprints that any user's tokens have, in lower case.
 * Each list is one search of an index.
 */
export async function findKnownTokens(
  db: Database,
  marks: { serials: readonly string[]; fingerprints: readonly string[] },
): Promise<Set<string>> {
  const serials = marks.serials.map((serial) => serial.toLowerCase());
  const found = await Promise.all([
    serials.length === 0 ? [] : findSerials(db, serials),
    marks.fingerprints.length === 0 ? [] : findFingerprints(db, marks.fingerprints),
  ]);
  return new Set(found.flat().map(({ mark }) => mark));
}

type Found = { mark: string }[];

async function findFingerprints(db: Database, fingerprints: readonly string[]): Promise<Found> {
  const wanted = db.sql`array(
    select jsonb_array_elements_text(${jsonText(fingerprints)}::text::jsonb))`;
  return db.sql<Found>`
    select found.mark from (
      select jsonb_path_query_array(document, '$.authenticators[*].fingerprint') as marks from users
      where jsonb_path_exists(document, '$.authenticators[*].fingerprint')
        and jsonb_path_query_array(document, '$.authenticators[*].fingerprint') ?| ${wanted}
    ) as owner, jsonb_array_elements_text(owner.marks) as found(mark)
    where found.mark = any(${wanted})`;
}

async function findSerials(db: Database, serials: readonly string[]): Promise<Found> {
  const wanted = db.sql`array(select jsonb_array_elements_text(${jsonText(serials)}::text::jsonb))`;
  return db.sql<Found>`
    select found.mark from (
      select jsonb_path_query_array(lower(document ->> 'authenticators')::jsonb, '$[*].serial')
        as marks from users
      where jsonb_path_exists(document, '$.authenticators[*].serial')
        and jsonb_path_query_array(lower(document ->> 'authenticators')::jsonb, '$[*].serial')
          ?| ${wanted}
    ) as owner, jsonb_array_elements_text(owner.marks) as found(mark)
    where found.mark = any(${wanted})`;
}
