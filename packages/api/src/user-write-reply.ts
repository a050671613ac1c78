import { z } from 'zod';
import type { ApiPorts } from './ports.ts';
import type { CommandDone } from './run-command.ts';
import { writeReply } from './schemas.ts';
import { userView, viewOneUser } from './user-view.ts';

/** The user as this node has it after the change; only what is known for certain if it has not applied it yet. */
export const userWriteReply = userView
  .partial()
  .extend({ id: z.string(), username: z.string(), ...writeReply });
export type UserWriteReply = z.infer<typeof userWriteReply>;

export async function replyToUserWrite(
  ports: ApiPorts,
  done: CommandDone,
  username: string,
): Promise<UserWriteReply> {
  const { revision, applied } = done;
  const id = String(done.result.userId ?? done.result.id);
  // The change is done: that it cannot be read back now must not look like a failure.
  const found = applied ? await ports.findUser(username).catch(() => null) : null;
  // Removed or renamed again meanwhile: the change itself is done all the same.
  if (found === null || found === 'ambiguous' || found.document.id !== id) {
    return { id, username, revision, applied };
  }
  // As above: the change is done, whatever can be read now.
  const view = await viewOneUser(ports, found).catch(() => ({ id, username }));
  return { ...view, revision, applied };
}
