import { listDirectories, readSettings } from '@countersign/database';
import { completeDirectory, flawOfDirectory, sealDirectoryPassword } from '@countersign/operations';
import { DIRECTORIES_MAX, newDirectory } from '@countersign/verification';
import { z } from 'zod';
import { deriveId } from './derive-id.ts';
import { directoryNameTaken, findNamed } from './find-directory.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';
import { secretRequired } from './set-directory.ts';

export const addDirectoryArgs = z.strictObject({ directory: newDirectory });

export async function addDirectory(
  context: PlanContext,
  { directory: given }: z.output<typeof addDirectoryArgs>,
): Promise<Plan> {
  const { name } = given;
  const all = await listDirectories(context.db);
  if (findNamed(all, name)) return directoryNameTaken(name);
  if (all.length >= DIRECTORIES_MAX) {
    return refuse(409, 'too_many_directories', `there are ${DIRECTORIES_MAX} already`);
  }
  const { settings } = await readSettings(context.db);
  const core = completeDirectory(given, settings.text.defaultCountry);
  const flaw = flawOfDirectory(core);
  if (flaw !== null) return refuse(400, 'invalid_directory', flaw);
  const id = deriveId(context.commandId, 'directory');
  const at = context.now.toISOString();
  const password = given.account?.password;
  if (core.account && password === undefined) return secretRequired('of the account');
  const account = core.account && {
    name: core.account.name,
    sealedPassword: sealDirectoryPassword(context.keys.seed, { ...core, id }, password!),
  };
  const content = { ...core, id, account, items: [], createdAt: at, updatedAt: at };
  return {
    kind: 'change',
    document: { kind: 'directory', id, removed: false, content },
    result: { id },
    event: {
      userId: null,
      username: null,
      details: {
        directory: name,
        type: core.type,
        servers: core.servers,
        account: account?.name ?? 'anonymous',
      },
    },
  };
}
