import type { CommandReply, CommandRequest } from '@countersign/api';
import type { ChangePin } from './verifier-options.ts';

/** A person at a sign-in waits for it. */
const TIMEOUT_MS = 5000;

/** Asks the master to change a PIN, with the right of whoever verifies the user. Null: done; else why not. */
export async function changePinOf(
  { caller, username, pin, newPin }: Parameters<ChangePin>[0],
  runCommand: (request: CommandRequest) => Promise<CommandReply>,
): Promise<string | null> {
  const reply = await runCommand({
    name: 'user.change-pin',
    args: { username, pin, newPin },
    caller,
    idempotencyKey: null,
    timeoutMs: TIMEOUT_MS,
  });
  if (reply.kind === 'done') return null;
  return reply.kind === 'refused' ? reply.detail : reply.kind;
}
