import {
  directoryDocument,
  directoryName,
  usernameKey,
  type DirectoryDocument,
  type DirectorySyncDocument,
} from '@countersign/verification';
import { z } from 'zod';
import type { DirectoryPorts, StoredDirectory } from './ports.ts';
import { ProblemError } from './problem.ts';
import type { CommandDone } from './run-command.ts';
import { timestamp, writeReply } from './schemas.ts';

export const directoryParams = z.strictObject({ name: directoryName });
/** Certificates of several authorities fit. */
export const DIRECTORY_BODY_MAX_BYTES = 256 * 1024;

export const directoryView = directoryDocument.omit({ account: true }).extend({
  account: z
    .object({ name: z.string(), passwordSet: z.literal(true) })
    .nullable()
    .describe('Who reads the directory; null: it is read anonymously.'),
});

const notice = z.object({
  endedAt: timestamp.nullable(),
  problem: z.string().nullable().describe('Why the last synchronisation came to nothing.'),
  held: z.int().nullable().describe('How many users a plan is about that waits for approval.'),
});
export const listedDirectory = directoryView.extend({ lastSync: notice });

/** The directory as this node has it after the change; only what is known for certain if it has not applied it yet. */
export const directoryWriteReply = directoryView
  .partial()
  .extend({ id: z.string(), name: z.string(), ...writeReply });

export function viewDirectory(directory: DirectoryDocument): z.output<typeof directoryView> {
  const { account, ...rest } = directory;
  return { ...rest, account: account && { name: account.name, passwordSet: true } };
}

export function viewLastSync(sync: DirectorySyncDocument | null): z.output<typeof notice> {
  const { last = null, held = null } = sync ?? {};
  return {
    endedAt: last?.endedAt ?? null,
    problem: last?.outcome === 'failed' ? (last.problem ?? 'it failed') : null,
    held: held && held.decision === null ? held.count : null,
  };
}

/** @throws ProblemError 404 `unknown_directory` */
export async function findOneDirectory(
  directories: DirectoryPorts,
  name: string,
): Promise<StoredDirectory> {
  const key = usernameKey(name);
  const all = await directories.list();
  const found = all.find(({ document }) => usernameKey(document.name) === key);
  if (found) return found;
  throw new ProblemError(404, 'unknown_directory', 'There is no such directory.');
}

export async function replyToDirectoryWrite(
  directories: DirectoryPorts,
  { revision, applied, result }: CommandDone,
  name: string,
): Promise<z.output<typeof directoryWriteReply>> {
  const id = String(result.id);
  // The change is done: that it cannot be read back now must not look like a failure.
  const found = applied ? await findOneDirectory(directories, name).catch(() => null) : null;
  if (found?.document.id !== id) return { id, name, revision, applied };
  return { ...viewDirectory(found.document), revision, applied };
}
