import type { DirectoryConfig } from '@countersign/directory';
import type { PurposeKey } from '@countersign/keys';
import type { DirectoryDocument } from '@countersign/verification';
import { openDirectoryPassword } from './directory-password.ts';

/**
 * All that is needed to talk to a directory, its account's password opened.
 * @throws KeyError if the password was sealed under another key, or for another place
 */
export function directoryConfigOf(
  document: DirectoryDocument,
  seedKey: PurposeKey,
): DirectoryConfig {
  const { name, type, domains, servers, startTls, certificates, account, baseDn } = document;
  const { filters, attributes, defaultCountry, connectMs, answerMs, pageSize, peopleMax } =
    document;
  const password = openDirectoryPassword(seedKey, document);
  return {
    ...{ name, type, domains, servers, startTls, certificates, baseDn, filters },
    ...{ attributes, defaultCountry, connectMs, answerMs, pageSize, peopleMax },
    account: account && { name: account.name, password: password! },
    sync: { changes: document.sync.changes },
  };
}
