import type { DirectoryConfig } from '@countersign/directory';
import type { PurposeKey } from '@countersign/keys';
import type { DirectoryDocument } from '@countersign/verification';
import type { DirectoryCore } from './complete-directory.ts';
import { openDirectoryPassword } from './directory-password.ts';

/**
 * All that is needed to talk to a directory, its account's password opened.
 * @throws KeyError if the password was sealed under another key, or for another place
 */
export function directoryConfigOf(
  document: DirectoryDocument,
  seedKey: PurposeKey,
): DirectoryConfig {
  return configOf(document, openDirectoryPassword(seedKey, document));
}

/** As {@link directoryConfigOf}, of one that may be no document yet; null: it has no account. */
export function configOf(directory: DirectoryCore, password: string | null): DirectoryConfig {
  const { name, type, domains, servers, startTls, certificates, account, baseDn } = directory;
  const { filters, attributes, defaultCountry, connectMs, answerMs, pageSize, peopleMax } =
    directory;
  return {
    ...{ name, type, domains, servers, startTls, certificates, baseDn, filters },
    ...{ attributes, defaultCountry, connectMs, answerMs, pageSize, peopleMax },
    account: account && { name: account.name, password: password! },
    sync: { changes: directory.sync.changes },
  };
}
