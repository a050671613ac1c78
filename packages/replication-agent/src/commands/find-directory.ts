import { listDirectories } from '@countersign/database';
import { usernameKey, type DirectoryDocument } from '@countersign/verification';
import { refuse, type PlanContext, type Refusal } from './plan.ts';

/** The directory of that name, whatever the case of its letters, or the refusal that there is none. */
export async function directoryOf(
  context: PlanContext,
  name: string,
): Promise<DirectoryDocument | Refusal> {
  const found = findNamed(await listDirectories(context.db), name);
  return found ?? refuse(404, 'unknown_directory', `no directory is called ${name}`);
}

export function findNamed<T extends { name: string }>(all: T[], name: string): T | undefined {
  const key = usernameKey(name);
  return all.find((each) => usernameKey(each.name) === key);
}

export function directoryNameTaken(name: string): Refusal {
  return refuse(409, 'directory_name_taken', `a directory called ${name} exists already`);
}
