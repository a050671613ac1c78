import { createHash } from 'node:crypto';
import { open, seal, type PurposeKey } from '@countersign/keys';
import type { DirectoryDocument } from '@countersign/verification';

/** All that decides to whom a directory's password is sent, and as whose. */
export type PasswordPlace = Pick<
  DirectoryDocument,
  'id' | 'servers' | 'startTls' | 'certificates'
> & { account: { name: string } | null };

/**
 * What a directory's password is sealed to: with other servers, another account or other trust it does not open
 * (security rule 25), whoever changed them and how.
 */
export function passwordContext({
  id,
  servers,
  startTls,
  certificates,
  account,
}: PasswordPlace): string {
  const { authorities, pinned, serverName } = certificates;
  const trust = JSON.stringify([authorities, pinned.toSorted(), serverName]);
  const hash = createHash('sha256').update(trust).digest('hex');
  return `directory|${id}|${account?.name ?? ''}|${servers.toSorted().join(' ')}|${startTls}|${hash}`;
}

/** In base64, for {@link DirectoryDocument.account}. */
export function sealDirectoryPassword(
  seedKey: PurposeKey,
  place: PasswordPlace,
  password: string,
): string {
  return seal(seedKey, Buffer.from(password, 'utf8'), passwordContext(place)).toString('base64');
}

/**
 * The password of the account that reads the directory; null: it is read anonymously.
 * @throws KeyError if it was sealed under another key, or for another place
 */
export function openDirectoryPassword(
  seedKey: PurposeKey,
  directory: DirectoryDocument,
): string | null {
  if (directory.account === null) return null;
  const sealed = Buffer.from(directory.account.sealedPassword, 'base64');
  return open(seedKey, sealed, passwordContext(directory)).toString('utf8');
}
