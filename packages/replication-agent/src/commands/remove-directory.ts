import { countDirectoryUsers, readSettings } from '@countersign/database';
import { z } from 'zod';
import { directoryOf } from './find-directory.ts';
import { clientsOf } from './find-radius.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const removeDirectoryArgs = z.strictObject({
  name: z.string().max(64),
  keepUsers: z.boolean().default(false),
});

/**
 * Users of it stay: nothing synchronises them any more, and nobody can sign in by the password of that directory. That
 * must be wanted.
 */
export async function removeDirectory(
  context: PlanContext,
  { name: given, keepUsers }: z.output<typeof removeDirectoryArgs>,
): Promise<Plan> {
  const directory = await directoryOf(context, given);
  if ('kind' in directory) return directory;
  const { id, name } = directory;
  const clients = clientsOf(
    await readSettings(context.db),
    ({ firstFactor }) =>
      firstFactor.kind === 'directory' && firstFactor.directories?.includes(id) === true,
  );
  if (clients) {
    return refuse(409, 'directory_in_use', `${name} is a first factor of ${clients}`);
  }
  const users = await countDirectoryUsers(context.db, id);
  if (users > 0 && !keepUsers) {
    const detail = `${users} users are of ${name}: remove them first, or keep them without it`;
    return refuse(409, 'directory_has_users', detail);
  }
  return {
    kind: 'change',
    document: { kind: 'directory', id, removed: true, content: null },
    result: { id, keptUsers: users },
    event: { userId: null, username: null, details: { directory: name, keptUsers: users } },
  };
}
