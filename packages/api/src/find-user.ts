import type { ApiPorts, StoredUser } from './ports.ts';
import { ProblemError } from './problem.ts';

/** The one user of that name. Throws a ProblemError if there is none or the name fits several. */
export async function findUser(ports: ApiPorts, username: string): Promise<StoredUser> {
  const found = await ports.findUser(username);
  if (found === null) throw new ProblemError(404, 'unknown_user', 'There is no such user.');
  if (found === 'ambiguous') {
    throw new ProblemError(409, 'ambiguous_user', 'The name fits more than one user.');
  }
  return found;
}
