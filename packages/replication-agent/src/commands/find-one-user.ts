import { findUsersByName } from '@countersign/database';
import type { UserDocument } from '@countersign/verification';
import { refuse, type PlanContext, type Refusal } from './plan.ts';

/** The one user whom an administrator means by that name, or the refusal that says why there is none. */
export async function findOneUser(
  context: PlanContext,
  username: string,
): Promise<UserDocument | Refusal> {
  const found = await findUsersByName(context.db, username);
  if (found.length > 1) {
    return refuse(409, 'ambiguous_user', `more than one user is called ${username}`);
  }
  const user = found[0];
  return user ? user.document : refuse(404, 'unknown_user', `no user is called ${username}`);
}

export function isRefusal(value: UserDocument | Refusal): value is Refusal {
  return 'kind' in value && value.kind === 'refused';
}
