import {
  checkNewPassword,
  encodeBase32,
  escapeUntrusted,
  generateSecret,
  otpauthUri,
} from '@countersign/verification';
import type { Command } from 'commander';
import { callApi, type ApiCall } from '../call-api.ts';
import { CliError } from '../cli-error.ts';
import { readNamedFile } from '../read-named-file.ts';
import { findSignIn, type ConnectionOptions } from '../find-servers.ts';
import { formatLocalTime } from '../format-time.ts';
import { openLocalSession } from '../local-session.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printStop, printWrite } from '../print-write.ts';
import { readInputLine, readNewSecret } from '../read-input.ts';
import { openSession, type Session } from '../session.ts';
import { collect } from '../setting-arguments.ts';
import { readCode } from './login.ts';

type Administrator = {
  username: string;
  displayName: string | null;
  mail: string | null;
  roles: string[];
  state: string;
  invitedUntil: string | null;
};

const PATH = '/api/v1/administrators';

export function addAdminCommands(program: Command): void {
  const admin = program.command('admin').description('who runs the cluster, and what they may do');
  addAdministrator(admin);
  listAdministrators(admin);
  setAdministrator(admin);
  admin
    .command('remove')
    .description('for good, with all sessions; works without a master too')
    .argument('<name>')
    .action(async (name: string, _options: object, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'DELETE', path: pathOf(name) });
      printStop(session, reply, `removed ${name}`);
    });
  admin
    .command('sign-out')
    .description('end every session that somebody has now; works without a master too')
    .argument('<name>')
    .action(async (name: string, _options: object, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'DELETE', path: pathOf(name, '/sessions') });
      if (session.json) return printJson(reply);
      printLines([escapeUntrusted(`every session of ${name} is over`, 400)]);
    });
  admin
    .command('invite')
    .description(
      'print a new invitation, only this once: it sets another password and authenticator',
    )
    .argument('<name>')
    .action(async (name: string, _options: object, command: Command) => {
      await invite(openSession(command), name, { path: pathOf(name, '/invitation') });
    });
  admin
    .command('recover')
    .description('invite an owner, existing or new, over the socket of the node; all are mailed')
    .argument('<name>')
    .option('--socket <path>', 'administration socket of the node')
    .action(async (name: string, _options: object, command: Command) => {
      await invite(openLocalSession(command), name, { path: pathOf(name, '/recovery') });
    });
  acceptInvitation(admin);
}

function pathOf(name: string, rest = ''): string {
  return `${PATH}/${encodeURIComponent(name)}${rest}`;
}

function addAdministrator(admin: Command): void {
  admin
    .command('add')
    .description('print an invitation for somebody new, only this once')
    .argument('<name>')
    .requiredOption(
      '--role <role>',
      'owner, administrator, helpdesk or auditor; repeatable',
      collect,
    )
    .option('--display-name <text>')
    .option('--mail <address>')
    .action(
      async (
        name: string,
        { role, displayName, mail }: { role: string[]; displayName?: string; mail?: string },
        command: Command,
      ) => {
        const body = { username: name, roles: role, displayName, mail };
        await invite(openSession(command), name, { path: PATH, body });
      },
    );
}

async function invite(
  session: Session,
  name: string,
  call: Pick<ApiCall, 'path' | 'body'>,
): Promise<void> {
  const reply = await session.call({ method: 'POST', ...call });
  const { invitation, expiresAt } = reply as {
    invitation: string | null;
    expiresAt: string | null;
  };
  const until = expiresAt === null ? '' : ` until ${formatLocalTime(Date.parse(expiresAt))}`;
  printWrite(session, reply, `${name} is invited${until}: countersign admin accept`);
  if (!session.json && invitation !== null) printLines([escapeUntrusted(invitation)]);
}

function listAdministrators(admin: Command): void {
  admin
    .command('list')
    .description('all of them, with their roles and how they stand')
    .action(async (_options: object, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'GET', path: PATH });
      if (session.json) return printJson(reply);
      const { administrators } = reply as { administrators: Administrator[] };
      const rows = administrators.map(({ username, roles, state, invitedUntil, mail }) => [
        username,
        roles.join(' '),
        invitedUntil === null
          ? state
          : `${state}, invited until ${formatLocalTime(Date.parse(invitedUntil))}`,
        mail ?? '-',
      ]);
      printTable(['NAME', 'ROLES', 'STATE', 'MAIL'], rows);
    });
}

function setAdministrator(admin: Command): void {
  admin
    .command('set')
    .description('change roles, name or mail; disable, enable or unlock')
    .argument('<name>')
    .option('--role <role>', 'instead of those so far; repeatable', collect)
    .option('--display-name <text>', 'empty: none')
    .option('--mail <address>', 'empty: none')
    .option('--disable', 'no session of theirs counts any more')
    .option('--enable')
    .option('--unlock', 'after too many wrong sign-ins')
    .action(async (name: string, options: SetOptions, command: Command) => {
      const body = changesOf(options);
      const session = openSession(command);
      const reply = await session.call({ method: 'PATCH', path: pathOf(name), body });
      printWrite(session, reply, `changed ${name}`);
    });
}

type SetOptions = {
  role?: string[];
  displayName?: string;
  mail?: string;
  disable?: boolean;
  enable?: boolean;
  unlock?: boolean;
};

function changesOf({ role, displayName, mail, disable, enable, unlock }: SetOptions): object {
  if (disable && enable) throw new CliError('give --disable or --enable', { exitCode: 2 });
  const changes = {
    ...(role && { roles: role }),
    ...(displayName !== undefined && { displayName: displayName || null }),
    ...(mail !== undefined && { mail: mail || null }),
    ...((disable || enable) && { disabled: disable ?? false }),
    ...(unlock && { unlock: true }),
  };
  if (Object.keys(changes).length > 0) return changes;
  throw new CliError('nothing to change: see countersign admin set --help', { exitCode: 2 });
}

function acceptInvitation(admin: Command): void {
  admin
    .command('accept')
    .description('set your password and authenticator with an invitation, which is asked for')
    .option('--invitation-file <file>', 'read the invitation from there')
    .action(async ({ invitationFile }: { invitationFile?: string }, command: Command) => {
      const options = command.optsWithGlobals<ConnectionOptions & { json?: boolean }>();
      const connection = findSignIn(options, process.env, process.cwd());
      const call = (path: string, body: object) =>
        callApi(connection, { method: 'POST', path, body });
      const invitation = await readInvitation(invitationFile);
      const look = { invitation };
      const { username, issuer } = (await call('/api/v1/invitations/look', look)) as {
        username: string;
        issuer: string;
      };
      process.stderr.write(`${escapeUntrusted(`This is the invitation of ${username}.`)}\n`);
      const password =
        process.env.COUNTERSIGN_PASSWORD ??
        (await readNewSecret('password, 12 characters or more'));
      const flaw = checkNewPassword(password, username);
      if (flaw) throw new CliError(`${flaw}: nothing was changed`, { exitCode: 2 });
      const secret = generateSecret();
      showAuthenticator({ issuer, account: username, secret });
      const code = await readCode();
      const body = { invitation, password, secret: encodeBase32(secret), code };
      const reply = await call('/api/v1/invitations/accept', body);
      if (options.json) return printJson(reply);
      printLines([
        escapeUntrusted(`${username} is set up: countersign login ${username}`, 400),
        'with the code after this one, which is not good a second time',
      ]);
    });
}

/** Not for stdout, which may go to a file. */
function showAuthenticator(about: { issuer: string; account: string; secret: Buffer }): void {
  const totp = { type: 'totp', algorithm: 'SHA1', digits: 6, periodSeconds: 30 } as const;
  const key = encodeBase32(about.secret).replace(/.{4}(?=.)/g, '$& ');
  process.stderr.write(
    'Add this to an authenticator app, by its address or by its key:\n' +
      `  ${otpauthUri({ ...about, ...totp })}\n  ${key}\n`,
  );
}

async function readInvitation(file: string | undefined): Promise<string> {
  if (file === undefined) {
    return process.env.COUNTERSIGN_INVITATION ?? (await readInputLine('invitation'));
  }
  return readNamedFile(file, 'the invitation').trim();
}
