import type { DirectoryDocument } from '@countersign/verification';
import type { Session } from '../session.ts';
import { DIRECTORIES } from './paths.ts';

/** As the API shows it. */
export type Directory = Omit<DirectoryDocument, 'account'> & {
  account: { name: string } | null;
  lastSync: { endedAt: string | null; problem: string | null; held: number | null };
};

/** All directories, by name. */
export async function readDirectories(session: Session): Promise<Directory[]> {
  const reply = await session.call({ method: 'GET', path: DIRECTORIES });
  return (reply as { directories: Directory[] }).directories;
}
