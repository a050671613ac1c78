import { csvLine } from './csv-line.ts';
import type { User } from './describe-user.ts';
import type { Session } from './session.ts';

const PAGE = 500;
const PAGE_TIMEOUT_MS = 15_000;

/** The first four are those that `user import` takes. */
const COLUMNS: [name: string, cell: (user: User) => string][] = [
  ['username', (user) => user.username],
  ['displayName', (user) => user.displayName ?? ''],
  ['email', (user) => user.email ?? ''],
  ['enabled', (user) => String(user.enabled)],
  ['firstName', (user) => user.firstName ?? ''],
  ['lastName', (user) => user.lastName ?? ''],
  ['group', (user) => user.group ?? ''],
  ['directory', (user) => user.directory?.name ?? ''],
  ['blockedUntil', (user) => user.blocked?.expiresAt ?? ''],
  ['lockedUntil', (user) => user.lockedUntil ?? ''],
  ['exemptUntil', (user) => user.exempt?.until ?? ''],
  ['method', (user) => user.method ?? ''],
  ['tokens', (user) => String(user.authenticators.filter(({ type }) => type !== 'phone').length)],
  ['phones', (user) => String(user.authenticators.filter(({ type }) => type === 'phone').length)],
  ['hasPin', (user) => String(Boolean(user.pin))],
  ['createdAt', (user) => user.createdAt],
  ['updatedAt', (user) => user.updatedAt],
];

/**
 * All users by name, a line each after the header, read a page at a time as lines are taken: who is added or renamed
 * meanwhile may be missing. No secret is in it, and no phone number.
 */
export async function* exportUsers(
  session: Session,
  onPage: (soFar: number) => void = () => undefined,
): AsyncGenerator<Buffer> {
  yield Buffer.from(csvLine(COLUMNS.map(([name]) => name)));
  let after: string | undefined;
  let soFar = 0;
  for (;;) {
    const query = { limit: String(PAGE), after };
    const call = { method: 'GET', path: '/api/v1/users', query, timeoutMs: PAGE_TIMEOUT_MS };
    const { users, next } = (await session.call(call as Parameters<Session['call']>[0])) as {
      users: User[];
      next: string | null;
    };
    soFar += users.length;
    onPage(soFar);
    const lines = users.map((user) => csvLine(COLUMNS.map(([, cell]) => cell(user))));
    if (lines.length > 0) yield Buffer.from(lines.join(''));
    if (next === null) return;
    after = next;
  }
}
