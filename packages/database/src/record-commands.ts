import type { ReceivedChange, ReceivedCommand } from './apply-changes.ts';
import { jsonText } from './json-text.ts';
import type { Transaction } from './open-database.ts';

export const COMMAND_RESULTS_KEPT_MS = 600_000;

/**
 * Keeps the commands the changes carry and forgets those 10 minutes older than a later change.
 * The changes' own times decide, so that every replica keeps the same.
 */
export async function recordCommands(
  tx: Transaction,
  changes: readonly ReceivedChange[],
): Promise<void> {
  const { rows, forgetBefore } = commandsToKeep(changes);
  await tx`
    with forgotten as (delete from command_results where at < ${forgetBefore}::timestamptz)
    insert into command_results (command_id, content_hash, kind, id, result, revision, at)
    select command_id, content_hash, kind, id, result, revision, at
    from jsonb_to_recordset(${jsonText(rows)}::text::jsonb) as input(
      command_id uuid, content_hash text, kind text, id text, result jsonb, revision bigint,
      at timestamptz)
    on conflict (command_id) do nothing`;
}

/** Goes backwards, so that each command meets the newest time of the changes after it. */
function commandsToKeep(changes: readonly ReceivedChange[]) {
  const rows = new Map<string, ReturnType<typeof commandRow>>();
  let forgetBeforeMs = 0;
  for (const change of changes.toReversed()) {
    forgetBeforeMs = Math.max(forgetBeforeMs, Date.parse(change.at) - COMMAND_RESULTS_KEPT_MS);
    for (const command of change.commands) {
      if (Date.parse(command.at) < forgetBeforeMs) continue;
      rows.set(command.commandId, commandRow(change, command));
    }
  }
  return { rows: [...rows.values()], forgetBefore: new Date(forgetBeforeMs).toISOString() };
}

function commandRow(change: ReceivedChange, command: ReceivedCommand) {
  return {
    command_id: command.commandId,
    content_hash: command.contentHash,
    kind: change.kind,
    id: change.id,
    result: command.result,
    revision: change.revision,
    at: command.at,
  };
}
