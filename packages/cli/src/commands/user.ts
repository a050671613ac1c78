import type { Command } from 'commander';
import { describeUser } from '../describe-user.ts';
import type { User } from '../describe-user.ts';
import { CliError } from '../cli-error.ts';
import { modesOption, type Modes } from '../parse-modes.ts';
import { parseCount } from '../parse-count.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printStop, printWrite } from '../print-write.ts';
import { openSession } from '../session.ts';
import { importUsers } from './import-users.ts';
import { userPath } from './user-path.ts';
import { addPrivacyCommands } from './user-privacy.ts';
import { addSignInCommands } from './user-sign-in.ts';

type UserOptions = {
  username?: string;
  displayName?: string;
  email?: string;
  enable?: boolean;
  disable?: boolean;
  method?: string;
  mode?: Modes;
  language?: string;
};

export function addUserCommands(program: Command): void {
  const user = program.command('user').description('add, show, change, block and remove users');
  addUser(user);
  importUsers(user);
  listUsers(user);
  showUser(user);
  setUser(user);
  blockUser(user);
  unblockUser(user);
  removeUser(user);
  addSignInCommands(user);
  addPrivacyCommands(user);
}

function addUser(user: Command): void {
  user
    .command('add')
    .description('add one; with a token or phone: authenticator enroll')
    .argument('<username>')
    .option('--display-name <text>')
    .option('--email <address>')
    .option('--disable', 'add the user disabled: every verification is denied')
    .option('--method <method>', 'oath, text, call, app or passkey; the usual one if not said')
    .addOption(modesOption())
    .option('--language <code>', 'two letters, like nl; the usual one if not said')
    .action(async (username: string, options: UserOptions, command: Command) => {
      const session = openSession(command);
      const body = { username, ...fieldsOf(options) };
      const reply = await session.call({ method: 'POST', path: '/api/v1/users', body });
      printWrite(session, reply, `added ${username}`);
    });
}

type ListOptions = { search?: string; exempt?: boolean; limit: number; after?: string };

function listUsers(user: Command): void {
  user
    .command('list')
    .description('users in the order of their names')
    .option('--search <text>', 'part of the name')
    .option('--exempt', 'only those who skip the second step now')
    .option('--limit <n>', 'at most so many, up to 500', parseCount, 100)
    .option('--after <username>', 'those after this one, for the next page')
    .action(async (options: ListOptions, command: Command) => {
      const session = openSession(command);
      const { exempt, limit, ...rest } = options;
      const query = { ...rest, limit: String(limit), ...(exempt && { exempt: 'true' }) };
      const reply = await session.call({ method: 'GET', path: '/api/v1/users', query });
      if (session.json) return printJson(reply);
      const { users, next } = reply as { users: User[]; next: string | null };
      const rows = users.map((each) => [
        each.username,
        each.displayName ?? '-',
        stateOf(each),
        String(each.authenticators.length),
      ]);
      printTable(['USERNAME', 'NAME', 'STATE', 'AUTHENTICATORS'], rows);
      if (next !== null) printTable([`more: --after ${next}`], []);
    });
}

function showUser(user: Command): void {
  user
    .command('show')
    .description('one of them, with authenticators, blocks and locks')
    .argument('<username>')
    .action(async (username: string, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'GET', path: userPath(username) });
      if (session.json) return printJson(reply);
      printLines(describeUser(reply as User));
    });
}

function setUser(user: Command): void {
  user
    .command('set')
    .description('change what is named')
    .argument('<username>')
    .option('--username <new>', 'give the user another name')
    .option('--display-name <text>', 'empty to clear')
    .option('--email <address>', 'empty to clear')
    .option('--enable', 'let the user be verified')
    .option('--disable', 'deny every verification')
    .option('--method <method>', 'oath, text, call, app or passkey; empty for the usual one')
    .addOption(modesOption())
    .option('--language <code>', 'two letters, like nl; empty for the usual one')
    .action(async (username: string, options: UserOptions, command: Command) => {
      const body = fieldsOf(options);
      if (Object.keys(body).length === 0) {
        throw new CliError('nothing to change: see countersign user set --help', { exitCode: 2 });
      }
      const session = openSession(command);
      const reply = await session.call({ method: 'PATCH', path: userPath(username), body });
      printWrite(session, reply, `changed ${username}`);
    });
}

function blockUser(user: Command): void {
  user
    .command('block')
    .description('deny every verification; works without a master too')
    .argument('<username>')
    .requiredOption('--reason <text>', 'kept with the block')
    .option('--days <n>', 'how long; as set (90) if not said', parseCount)
    .action(
      async (username: string, options: { reason: string; days?: number }, command: Command) => {
        const session = openSession(command);
        const path = userPath(username, '/block');
        const reply = await session.call({ method: 'POST', path, body: options });
        printStop(session, reply, `blocked ${username}`);
      },
    );
}

function unblockUser(user: Command): void {
  user
    .command('unblock')
    .description('lift a block or a lockout')
    .argument('<username>')
    .action(async (username: string, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'POST', path: userPath(username, '/unblock') });
      printWrite(session, reply, `unblocked ${username}`);
    });
}

function removeUser(user: Command): void {
  user
    .command('remove')
    .description('for good, with authenticators; events stay (user erase: they go too)')
    .argument('<username>')
    .action(async (username: string, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'DELETE', path: userPath(username) });
      printWrite(session, reply, `removed ${username}`);
    });
}

function fieldsOf(options: UserOptions): Record<string, unknown> {
  if (options.enable && options.disable) {
    throw new CliError('--enable and --disable exclude each other', { exitCode: 2 });
  }
  return {
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(options.displayName === undefined ? {} : { displayName: options.displayName || null }),
    ...(options.email === undefined ? {} : { email: options.email || null }),
    ...(options.method === undefined ? {} : { method: options.method || null }),
    ...(options.mode === undefined ? {} : { modes: options.mode }),
    ...(options.language === undefined ? {} : { language: options.language || null }),
    ...(options.enable ? { enabled: true } : {}),
    ...(options.disable ? { enabled: false } : {}),
  };
}

function stateOf(user: User): string {
  if (!user.enabled) return 'disabled';
  if (user.blocked !== null) return 'blocked';
  if (user.lockedUntil !== null) return 'locked out';
  if (user.exempt) return 'exempt';
  return 'enabled';
}
