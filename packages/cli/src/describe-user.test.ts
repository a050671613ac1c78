import { expect, it } from 'vitest';
import { describeUser, type User } from './describe-user.ts';

const user: User = {
  id: '0190d6a2-0000-7000-8000-000000000002',
  username: 'alice',
  displayName: null,
  email: null,
  enabled: true,
  blocked: null,
  lockedUntil: null,
  authenticators: [],
  createdAt: '2026-05-01T12:00:00.000Z',
  updatedAt: '2026-05-01T12:00:00.000Z',
  revision: 7,
};

it('shows who stopped a user without a master, where, and why, with nothing a terminal obeys', () => {
  const fact = {
    id: 'f',
    reason: 'lost \u001b[31mphone',
    at: '2026-05-01T12:00:00.000Z',
    by: 'help desk',
    node: 'node-2',
  };
  const lines = describeUser({ ...user, pendingStopFacts: [fact] });
  const [line] = lines.filter((each) => each.startsWith('stop fact'));
  expect(line).toMatch(/by help desk on node-2 at .*, waits for the master: lost .*phone/);
  expect(line).not.toContain('\u001b');
  expect(describeUser(user).join('\n')).not.toContain('stop fact');
});

it('shows where a user of a directory came from, by what names, and what waits for approval', () => {
  const directory = {
    id: 'd',
    name: 'corp',
    item: { id: 'i', name: 'staff' },
    dn: 'CN=Alice,DC=corp',
    object: 'o-1',
    names: ['corp\\alice'],
    mails: ['a@corp.test'],
    isDisabledBySync: true,
    goneAt: '2026-05-01T12:00:00.000Z',
    pendingPhones: [
      {
        phone: 'p',
        number: '+31612345678',
        extension: null,
        seenAt: '2026-05-01T12:00:00.000Z',
        approved: null,
      },
    ],
  };
  const given = { firstName: 'Alice', lastName: null, description: 'desk \u001b[31m4' };
  const text = describeUser({ ...user, ...given, directory }).join('\n');
  expect(text).toMatch(/first, last +Alice, -\n/);
  expect(text).toMatch(/directory +corp, sync item staff\nentry +CN=Alice,DC=corp \(o-1\)\n/);
  expect(text).toMatch(/signs in as +corp\\alice, a@corp.test\n/);
  expect(text).toMatch(/disabled +by the synchronisation\ngone +in no sync item since/);
  expect(text).toMatch(/new number +\+31612345678 for phone p, .*waits for approval/);
  expect(text).not.toContain('\u001b');
  const unknown = { ...directory, name: null, item: null, goneAt: null };
  expect(describeUser({ ...user, directory: unknown }).join('\n')).toMatch(
    /directory +d, imported by hand/,
  );
  expect(describeUser(user).join('\n')).not.toContain('directory');
});
