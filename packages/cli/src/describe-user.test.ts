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
