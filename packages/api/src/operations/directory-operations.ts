import type { ApiServer } from '../api-server.ts';
import type { ApiPorts, DirectoryPorts } from '../ports.ts';
import { addDirectory } from './add-directory.ts';
import { browseDirectory } from './browse-directory.ts';
import { checkSignIn } from './check-sign-in.ts';
import { decideApproval } from './decide-approval.ts';
import { getDirectory } from './get-directory.ts';
import { getSync } from './get-sync.ts';
import { importPeople } from './import-people.ts';
import { listApprovals } from './list-approvals.ts';
import { listDirectories } from './list-directories.ts';
import { previewPeople } from './preview-people.ts';
import { removeDirectory } from './remove-directory.ts';
import { setDirectory } from './set-directory.ts';
import { syncDirectory } from './sync-directory.ts';
import { syncItems } from './sync-items.ts';
import { testDirectory } from './test-directory.ts';

/** Where people come from, and what of it waits for an administrator. */
export function addDirectoryOperations(
  api: ApiServer,
  ports: ApiPorts,
  directories: DirectoryPorts,
): void {
  addDirectory(api, ports, directories);
  listDirectories(api, directories);
  getDirectory(api, directories);
  setDirectory(api, ports, directories);
  removeDirectory(api, ports);
  testDirectory(api, directories);
  browseDirectory(api, directories);
  previewPeople(api, directories);
  importPeople(api, ports);
  syncItems(api, ports, directories);
  syncDirectory(api, ports);
  getSync(api, ports, directories);
  checkSignIn(api, directories);
  listApprovals(api, directories);
  decideApproval(api, ports, directories);
}
