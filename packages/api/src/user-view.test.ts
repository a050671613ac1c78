import { expect, it } from 'vitest';
import type { DirectoryDocument } from '@countersign/verification';
import type { StoredUser } from './ports.ts';
import { userView, viewOneUser, viewUsers } from './user-view.ts';

const AT = '2026-03-01T12:00:00.000Z';
const local: StoredUser = {
  document: {
    id: '0190d6a2-0000-7000-8000-000000000001',
    username: 'bob',
    enabled: true,
    blocked: null,
    unlockedAt: null,
    authenticators: [],
    createdAt: AT,
    updatedAt: AT,
  },
  revision: 3,
  lockedUntil: null,
  stopFacts: [],
};
const phone = { phone: 'p', number: '+31612345678', seenAt: AT };
const linked: StoredUser = {
  ...local,
  document: {
    ...local.document,
    firstName: 'Alice',
    directory: {
      id: 'd',
      object: 'o-1',
      dn: 'CN=Alice,DC=corp',
      item: 'i',
      names: ['corp\\alice'],
      mails: [],
      pendingPhones: [phone],
    },
  },
};

/** Counts how often the directories are read. */
function portsWith(directories: DirectoryDocument[]) {
  const ports = {
    reads: 0,
    async readSettings() {
      ports.reads += 1;
      const none = { applications: new Map(), radiusClients: [], radiusTargets: [] };
      return { settings: {} as never, ...none, directories, revision: 1 };
    },
  };
  return ports;
}

it('shows the directory of a user with the names it and its sync item have', async () => {
  const items = [{ id: 'i', name: 'staff' }];
  const ports = portsWith([{ id: 'd', name: 'corp', items } as DirectoryDocument]);
  const view = await viewOneUser(ports, linked);
  expect(userView.parse(view)).toEqual(view);
  expect(view).toMatchObject({
    firstName: 'Alice',
    lastName: null,
    directory: {
      name: 'corp',
      item: { id: 'i', name: 'staff' },
      object: 'o-1',
      isDisabledBySync: false,
      goneAt: null,
      pendingPhones: [{ ...phone, extension: null, approved: null }],
    },
  });
});

it('shows a user whose directory is not known here', async () => {
  const { directory } = await viewOneUser(portsWith([]), linked);
  expect(directory).toMatchObject({ id: 'd', name: null, item: { id: 'i', name: null } });
});

it('reads the directories once for a page of users, and not at all for local ones', async () => {
  const ports = portsWith([]);
  const [view] = await viewUsers(ports, [local, local]);
  expect([view!.directory, ports.reads]).toEqual([null, 0]);
  await viewUsers(ports, [linked, local, linked]);
  expect(ports.reads).toBe(1);
});
