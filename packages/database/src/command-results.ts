import { and, desc, eq } from './drizzle.ts';
import type { ChangeKind } from './apply-changes.ts';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';
import { commandResults } from './schema.ts';

export type CommandResult = {
  commandId: string;
  /** Another hash under the same id is another command: a conflict. */
  contentHash: string;
  /** ISO time. */
  at: string;
  result: Record<string, unknown>;
  revision: number;
};

const { commandId, contentHash, at, result, revision } = commandResults;
const fields = { commandId, contentHash, at, result, revision };

/** The result of a command of the last 10 minutes; null where none was applied here. */
export async function findCommandResult(db: Database, id: string): Promise<CommandResult | null> {
  const [found] = await db.orm.select(fields).from(commandResults).where(eq(commandId, id));
  return found ? { ...found, at: found.at.toISOString() } : null;
}

/** As {@link findCommandResult} for many commands, by their ids; those that were not applied here are missing. */
export async function findCommandResults(
  db: Database,
  ids: readonly string[],
): Promise<Map<string, CommandResult>> {
  const found = await db.sql<(Omit<CommandResult, 'at'> & { at: string })[]>`
    select r.command_id as "commandId", r.content_hash as "contentHash", r.at, r.result, r.revision
    from jsonb_array_elements_text(${jsonText(ids)}::text::jsonb) as wanted(id)
    join command_results r on r.command_id = wanted.id::uuid`;
  return new Map(
    found.map((row) => [row.commandId, { ...row, at: new Date(row.at).toISOString() }]),
  );
}

/** Results of the last commands on a document, newest last, at most `limit`. */
export async function recentCommandResults(
  db: Database,
  kind: ChangeKind,
  id: string,
  limit: number,
): Promise<CommandResult[]> {
  const found = await db.orm
    .select(fields)
    .from(commandResults)
    .where(and(eq(commandResults.kind, kind), eq(commandResults.id, id)))
    .orderBy(desc(revision), desc(at))
    .limit(limit);
  return found.toReversed().map((row) => ({ ...row, at: row.at.toISOString() }));
}
