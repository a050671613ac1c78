import { findUsersByObject } from '@countersign/database';
import { keyedHash } from '@countersign/keys';
import type { Settings } from '@countersign/verification';
import { refused, type AskedDirectories, type PasswordProof } from './first-factor.ts';
import type { VerifierOptions } from './verifier-options.ts';

/** People type passwords into name fields: unless it is set otherwise, only a hash of an unknown name is kept. */
export function nameOfStranger(
  { keys }: Pick<VerifierOptions, 'keys'>,
  username: string,
  { events }: Settings,
): string {
  if (!events.hashUnknownNames) return username.slice(0, 256);
  const hash = keyedHash(keys['wrong-code'], 'name', username);
  return `unknown-${hash.toString('hex').slice(0, 12)}`;
}

/** Whether somebody who is none of the users is in a directory, and by what name none of them is. */
export async function proveStranger(
  options: Pick<VerifierOptions, 'firstFactor' | 'db' | 'gate'>,
  username: string,
  password: string | null,
  asked: AskedDirectories,
): Promise<PasswordProof> {
  const { firstFactor, db, gate } = options;
  if (!firstFactor) return refused('no_directory');
  const isUser = async (directory: string, object: string) => {
    const found = await gate.pass(() => findUsersByObject(db, directory, [object]));
    return found.some(({ removedAt }) => removedAt === undefined);
  };
  const stranger = { ...asked, isUser };
  return password === null
    ? firstFactor.knowStranger(username, stranger)
    : firstFactor.ofStranger(username, password, stranger);
}
