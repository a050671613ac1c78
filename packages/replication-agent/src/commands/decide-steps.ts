import { listDirectories, readDirectorySync } from '@countersign/database';
import { usernameKey, type DirectorySyncDocument } from '@countersign/verification';
import { z } from 'zod';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const decideStepsArgs = z.strictObject({
  /** Of the directory. */
  name: z.string().max(256),
  hash: z.string().max(64),
});
type Args = z.output<typeof decideStepsArgs>;

/** Lets the synchronisation do just what it was held back from: whatever differs by then is asked anew. */
export async function approveSteps(context: PlanContext, args: Args): Promise<Plan> {
  return decideSteps(context, args, 'approved');
}

export async function rejectSteps(context: PlanContext, args: Args): Promise<Plan> {
  return decideSteps(context, args, 'rejected');
}

async function decideSteps(
  { db, actor, now }: PlanContext,
  { name, hash }: Args,
  what: 'approved' | 'rejected',
): Promise<Plan> {
  const key = usernameKey(name);
  const directory = (await listDirectories(db)).find((each) => usernameKey(each.name) === key);
  if (!directory) return refuse(404, 'unknown_directory', `no directory is called ${name}`);
  const sync = await readDirectorySync(db, directory.id);
  if (!sync?.held) return refuse(404, 'unknown_approval', 'nothing of this directory waits');
  if (sync.held.hash !== hash) {
    const detail = 'what waits is another plan by now: look at it again';
    return refuse(409, 'approval_changed', detail);
  }
  if (sync.held.decision?.what === what) return { kind: 'unchanged', result: {} };
  const decision = { what, at: now.toISOString(), by: actor };
  const content: DirectorySyncDocument = { ...sync, held: { ...sync.held, decision } };
  return {
    kind: 'change',
    document: { kind: 'directory-sync', id: directory.id, removed: false, content },
    result: {},
    event: {
      userId: null,
      username: null,
      details: { directory: directory.name, hash, count: sync.held.count },
    },
  };
}
