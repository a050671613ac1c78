import type { Command, MasterReply } from '@countersign/cluster';
import type { DirectoryDocument } from '@countersign/verification';
import { z } from 'zod';
import type { Allowed } from '../authorise.ts';
import { refuse, type Refusal } from '../commands/plan.ts';
import type { Mastership } from '../mastership.ts';
import type { Replica } from '../replica.ts';
import { IMPORT_OBJECTS_MAX, importPeople } from './import-people.ts';
import type { SyncEngine } from './sync-engine.ts';

type Parts = {
  engine: SyncEngine;
  mastership: Pick<Mastership, 'isActive' | 'isHandingOver'>;
  replica: Pick<Replica, 'applied'>;
  authorise(command: Command): Promise<Allowed | Refusal>;
};

const name = z.string().max(256);
const syncArgs = z.strictObject({
  name,
  full: z.boolean().default(false),
  dryRun: z.boolean().default(false),
});
const importArgs = z.strictObject({
  name,
  objects: z
    .array(z.string().regex(/^[0-9a-z-]{1,64}$/))
    .min(1)
    .max(IMPORT_OBJECTS_MAX),
});
const statusArgs = z.strictObject({ name });

/** What is asked of the synchronisation itself: it runs with the master, and only there. */
export async function answerDirectoryCommand(
  command: Command,
  { engine, mastership, replica, authorise }: Parts,
): Promise<MasterReply> {
  if (mastership.isHandingOver) return { kind: 'handing_over' };
  if (!mastership.isActive) return { kind: 'not_master' };
  const judged = await authorise(command);
  if (judged.kind === 'refused') return judged;
  const done = (result: Record<string, unknown>): MasterReply => {
    return { kind: 'done', revision: replica.applied.revision, result };
  };
  const { args } = command;
  switch (command.name) {
    case 'directory.sync':
      return withDirectory(syncArgs, args, engine, async (directory, { full, dryRun }) =>
        done({ started: await engine.ask(directory, { full, dryRun }) }),
      );
    case 'directory.status':
      return withDirectory(statusArgs, args, engine, async (directory) =>
        done(await engine.status(directory)),
      );
    default:
      return withDirectory(importArgs, args, engine, async (directory, { objects }) => {
        const results = await importPeople(directory, objects, engine.importing(command.actor));
        return 'kind' in results ? results : done({ results });
      });
  }
}

async function withDirectory<S extends z.ZodType<{ name: string }>>(
  schema: S,
  args: unknown,
  engine: SyncEngine,
  work: (directory: DirectoryDocument, args: z.output<S>) => Promise<MasterReply>,
): Promise<MasterReply> {
  const parsed = schema.safeParse(args);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return refuse(400, 'invalid_request', `${issue?.path.join('.')}: ${issue?.message}`);
  }
  const directory = await engine.findDirectory(parsed.data.name);
  if (directory) return work(directory, parsed.data);
  return refuse(404, 'unknown_directory', `no directory is called ${parsed.data.name}`);
}
