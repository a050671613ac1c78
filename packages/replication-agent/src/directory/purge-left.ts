import { listLeftSyncs, listRemovedUsers } from '@countersign/database';
import type { DirectoryDocument } from '@countersign/verification';
import type { Mastership } from '../mastership.ts';
import { writeSlices, type WriterOptions } from './write-slices.ts';

/**
 * Ends what is kept of users who were removed until `before`, at most 500, and of the synchronisation of directories
 * that were removed: whether they are synchronised or there any more matters to neither.
 */
export async function purgeLeft(
  directories: readonly DirectoryDocument[],
  before: Date,
  { writer, mastership }: { writer: WriterOptions; mastership: Pick<Mastership, 'rewrite'> },
): Promise<void> {
  const users = await listRemovedUsers(writer.db, before);
  for (const [id, some] of Map.groupBy(users, (user) => user.directory!.id)) {
    const known = directories.find((each) => each.id === id);
    const directory = known ?? { id, name: 'that was removed', domains: [], items: [] };
    const wishes = some.map((user) => ({
      kind: 'purge' as const,
      object: user.directory!.object,
    }));
    const about = { directory, actor: `directory ${directory.name}`, isFinal: false };
    await writeSlices(wishes, { ...about, allowsRisk: true }, writer);
  }
  for (const id of await listLeftSyncs(writer.db)) {
    const touches = [`directory-sync ${id}`];
    const make = async () => null;
    await mastership.rewrite({ kind: 'directory-sync', id, removed: true, touches, make });
  }
}
