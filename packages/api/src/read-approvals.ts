import { createHash } from 'node:crypto';
import type { DirectoryLink, UserDocument } from '@countersign/verification';
import type { Approval } from './operations/list-approvals.ts';
import type { CommandName, DirectoryPorts, StoredDirectory } from './ports.ts';

const PHONES_MAX = 500;

type PendingPhone = NonNullable<DirectoryLink['pendingPhones']>[number];

/** Something to decide, and the commands that do: each names what was looked at. */
type Waiting = {
  approval: Approval;
  approve: { name: CommandName; args: Record<string, unknown> };
  reject: { name: CommandName; args: Record<string, unknown> };
};

/** Held plans by their directories, then numbers by their users: `isMore` where there are more than 500 of those. */
export async function readApprovals(
  directories: DirectoryPorts,
): Promise<{ approvals: Waiting[]; isMore: boolean }> {
  const [all, users] = await Promise.all([
    directories.list(),
    directories.listPendingPhones(PHONES_MAX + 1),
  ]);
  const names = new Map(all.map(({ document }) => [document.id, document.name]));
  return {
    approvals: [
      ...all.flatMap(planOf),
      ...users.slice(0, PHONES_MAX).flatMap((user) => phonesOf(user, names)),
    ],
    isMore: users.length > PHONES_MAX,
  };
}

function planOf({ document, sync }: StoredDirectory): Waiting[] {
  const held = sync?.held;
  if (!held) return [];
  const { hash, at, count, of, first, decision } = held;
  const args = { name: document.name, hash };
  const named = first.map(({ username, what }) => ({ username, what }));
  return [
    {
      approval: {
        kind: 'plan',
        hash,
        directory: document.name,
        at,
        count,
        of,
        first: named,
        decision,
      },
      approve: { name: 'directory.approve', args },
      reject: { name: 'directory.reject', args },
    },
  ];
}

/** The hash covers the number: another one that the directory has meanwhile is another thing to decide. */
function phonesOf(user: UserDocument, names: ReadonlyMap<string, string>): Waiting[] {
  const { directory, username } = user;
  return (directory?.pendingPhones ?? []).map((pending) => {
    const { phone, number, extension, seenAt } = pending;
    const what = JSON.stringify([user.id, phone, number, extension ?? null]);
    const hash = createHash('sha256').update(what).digest('hex');
    const replaced = user.authenticators.find(({ id }) => id === phone);
    const args = { username, phone, number };
    return {
      approval: {
        kind: 'phone',
        hash,
        directory: names.get(directory!.id) ?? '(removed)',
        at: seenAt,
        username,
        from: replaced?.type === 'phone' ? replaced.number : null,
        to: extension === undefined ? number : `${number} x${extension}`,
        decision: decisionOf(pending),
      },
      approve: { name: 'directory.approve-phone', args },
      reject: { name: 'directory.reject-phone', args },
    };
  });
}

function decisionOf({ approved, rejected }: PendingPhone): Approval['decision'] {
  if (approved) return { what: 'approved', ...approved };
  return rejected ? { what: 'rejected', ...rejected } : null;
}
