import type { ChangeKind } from './apply-changes.ts';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';

export type CommandResult = {
  commandId: string;
  /** Another hash under the same id is another command: a conflict. */
  contentHash: string;
  /** ISO time. */
  at: string;
  result: Record<string, unknown>;
  revision: number;
};

type Row = Omit<CommandResult, 'at'> & { at: string };

/** The result of a command of the last 10 minutes; null where none was applied here. */
export async function findCommandResult(db: Database, id: string): Promise<CommandResult | null> {
  return (await findCommandResults(db, [id])).get(id) ?? null;
}

/** As {@link findCommandResult} for many commands, by their ids; those that were not applied here are missing. */
export async function findCommandResults(
  db: Database,
  ids: readonly string[],
): Promise<Map<string, CommandResult>> {
  const found = await db.sql<Row[]>`
    select r.command_id as "commandId", r.content_hash as "contentHash", r.at, r.result, r.revision
    from jsonb_array_elements_text(${jsonText(ids)}::text::jsonb) as wanted(id)
    join command_results r on r.command_id = wanted.id::uuid`;
  return new Map(found.map((row) => [row.commandId, toResult(row)]));
}

/** Results of the last commands on a document, newest last, at most `limit`. */
export async function recentCommandResults(
  db: Database,
  kind: ChangeKind,
  id: string,
  limit: number,
): Promise<CommandResult[]> {
  const found = await db.sql<Row[]>`
    select command_id as "commandId", content_hash as "contentHash", at, result, revision
    from command_results where kind = ${kind} and id = ${id}
    order by revision desc, at desc limit ${limit}`;
  return found.toReversed().map(toResult);
}

/** As {@link recentCommandResults} for many documents, by `kind id`. */
export async function recentResultsOf(
  db: Database,
  documents: readonly { kind: string; id: string }[],
  limit: number,
): Promise<Map<string, CommandResult[]>> {
  const input = jsonText(documents.map(({ kind, id }) => ({ kind, id })));
  const found = await db.sql<(Row & { kind: string; id: string })[]>`
    select kind, id, command_id as "commandId", content_hash as "contentHash", at, result, revision
    from command_results
    join jsonb_to_recordset(${input}::text::jsonb) as wanted(kind text, id text) using (kind, id)
    order by revision, at`;
  const results = new Map<string, CommandResult[]>();
  for (const { kind, id, ...row } of found) {
    const place = `${kind} ${id}`;
    results.set(place, [...(results.get(place) ?? []), toResult(row)].slice(-limit));
  }
  return results;
}

function toResult(row: Row): CommandResult {
  return { ...row, at: new Date(row.at).toISOString() };
}
