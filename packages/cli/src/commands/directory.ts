import type { DirectoryTestReport } from '@countersign/api';
import { escapeUntrusted } from '@countersign/verification';
import { Option, type Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { ITEM_HEADINGS, rowsOfItems } from '../directory/describe-item.ts';
import {
  DIRECTORY_SETTINGS,
  listFields,
  readFields,
  readPassword,
  readPin,
  readTextFile,
} from '../directory/fields.ts';
import { DIRECTORIES, DIRECTORY_TIMEOUT_MS, directoryPath } from '../directory/paths.ts';
import { readDirectories, type Directory } from '../directory/read-directories.ts';
import { escapeAll } from '../escape-all.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { openSession, type Session } from '../session.ts';
import { collect } from '../setting-arguments.ts';
import { formatTable } from '../table.ts';
import { withSpinner } from '../with-spinner.ts';
import { addApprovalCommands } from './directory-approvals.ts';
import { addItemCommands } from './directory-items.ts';
import { addPeopleCommands } from './directory-people.ts';
import { syncDirectories } from './directory-sync.ts';

type AddOptions = {
  type: string;
  url: string[];
  base: string;
  account?: string;
  passwordFile?: string;
  ca?: string;
  pin: string[];
  serverName?: string;
  startTls?: boolean;
  domain: string[];
  set: string[];
  test: boolean;
};

const HELP = `
A setting is written as name=value, a list with commas; nothing behind the = takes one away.
Settings:
${Object.keys(DIRECTORY_SETTINGS)
  .map((name) => `  ${name}`)
  .join('\n')}
certificates.authorities names a file. account= reads anonymously. Where servers, account, StartTLS
or certificates change, the password has to be given again.`;

export function addDirectoryCommands(program: Command): void {
  const directory = program
    .command('directory')
    .description('where people come from: Active Directory and LDAP');
  addOne(directory);
  listAll(directory);
  showOne(directory);
  setOne(directory);
  removeOne(directory);
  testSome(directory);
  addPeopleCommands(directory);
  addItemCommands(directory);
  syncDirectories(directory);
  addApprovalCommands(directory);
}

function addOne(directory: Command): void {
  directory
    .command('add')
    .description('add one after testing it; what is left out is as usual for its type')
    .argument('<name>')
    .addOption(
      new Option('--type <type>', 'what it is')
        .choices(['active-directory', 'ldap'])
        .makeOptionMandatory(),
    )
    .addOption(urlOption())
    .requiredOption('--base <dn>', 'below which everybody stands')
    .option('--account <name>', 'who reads it: a DN; without it is read anonymously')
    .option('--password-file <file>', 'that holds its password; - for stdin')
    .option('--ca <file>', 'PEM of the authorities to trust, instead of those of the system')
    .option('--pin <sha256>', 'trust only the certificate with this SHA-256', collect, [])
    .option('--server-name <name>', 'that certificates have instead of the address')
    .option('--start-tls', 'encrypt connections to ldap://')
    .option('--domain <names>', 'what stands before \\ and behind @, like CORP', collect, [])
    .option('--set <name=value>', 'any other setting', collect, [])
    .option('--no-test', 'add it untested')
    .addHelpText('after', HELP)
    .action(async (name: string, options: AddOptions, command: Command) => {
      const body = await bodyOf(name, options);
      const session = openSession(command);
      if (options.test) {
        const { ok, line } = await test(session, `${DIRECTORIES}/test`, body);
        if (!ok) throw new CliError(`not added: ${line} (--no-test adds it all the same)`);
        if (!session.json) printLines([escapeUntrusted(line, 300)]);
      }
      const reply = await session.call({ method: 'POST', path: DIRECTORIES, body });
      printWrite(session, reply, `added ${name}`);
    });
}

/** Not --server: that is the node to ask. */
function urlOption(): Option {
  return new Option('--url <url>', 'ldaps://HOST or ldap://HOST; repeat for several, in order')
    .argParser((text: string, before: string[] | undefined) => [...(before ?? []), text])
    .makeOptionMandatory();
}

async function bodyOf(name: string, options: AddOptions): Promise<object> {
  const { type, url, base, account, passwordFile } = options;
  const given = readFields(options.set);
  if (account === undefined && passwordFile !== undefined) {
    throw new CliError('--password-file: whose? Give --account too', { exitCode: 2 });
  }
  const domains = options.domain.flatMap((each) => each.split(',')).map((each) => each.trim());
  const certificates = {
    ...(options.ca !== undefined && { authorities: readTextFile(options.ca) }),
    ...(options.pin.length > 0 && { pinned: options.pin.map(readPin) }),
    ...(options.serverName !== undefined && { serverName: options.serverName }),
    ...(given.certificates as object | undefined),
  };
  return {
    ...given,
    name,
    type,
    servers: url,
    baseDn: base,
    ...(Object.keys(certificates).length > 0 && { certificates }),
    ...(options.startTls && { startTls: true }),
    ...(domains.length > 0 && { domains }),
    ...(account !== undefined && {
      account: {
        name: account,
        password: await readPassword(passwordFile, `password of ${account}`),
      },
    }),
  };
}

function listAll(directory: Command): void {
  directory
    .command('list')
    .description('all of them, and how they stand')
    .action(async (_options, command: Command) => {
      const session = openSession(command);
      const directories = await readDirectories(session);
      if (session.json) return printJson({ directories });
      const rows = directories.map(({ name, type, servers, items, sync, lastSync }) => [
        name,
        type,
        servers[0]! + (servers.length > 1 ? ` +${servers.length - 1}` : ''),
        String(items.length),
        sync.enabled ? `every ${sync.intervalMinutes} min` : 'off',
        stateOf({ sync, lastSync }),
      ]);
      printTable(['NAME', 'TYPE', 'SERVERS', 'ITEMS', 'SYNC', 'STATE'], rows);
    });
}

function stateOf({ lastSync }: Pick<Directory, 'sync' | 'lastSync'>): string {
  const { endedAt, problem, held } = lastSync;
  if (held !== null) return `${held} users wait for approval`;
  if (problem !== null) return problem;
  return endedAt === null ? 'never synchronised' : 'ok';
}

function showOne(directory: Command): void {
  directory
    .command('show')
    .description('one of them, with all its settings')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'GET', path: directoryPath(name) });
      if (session.json) return printJson(reply);
      const found = escapeAll(reply as Directory);
      const settings = listFields(found).map(([each, value]) => [`  ${each}`, value || '-']);
      printLines([
        `${found.name}: ${found.type}, ${stateOf(found)}`,
        ...formatTable(['settings:', ''], settings),
        ...(found.items.length > 0
          ? formatTable(ITEM_HEADINGS, rowsOfItems(found.items))
          : ['no sync items']),
      ]);
    });
}

function setOne(directory: Command): void {
  directory
    .command('set')
    .description('change what is named')
    .argument('<name>')
    .argument('[settings...]', 'as name=value')
    .option('--password-file <file>', 'with the password of its account; - for stdin')
    .addHelpText('after', HELP)
    .action(
      async (
        name: string,
        settings: string[],
        { passwordFile }: { passwordFile?: string },
        command: Command,
      ) => {
        const body = readFields(settings);
        if (passwordFile !== undefined) {
          if (body.account === null) {
            throw new CliError('--password-file: nobody has one who is anonymous', { exitCode: 2 });
          }
          const password = await readPassword(passwordFile, 'password of its account');
          body.account = { ...body.account, password };
        }
        if (Object.keys(body).length === 0) {
          throw new CliError('nothing to change: see countersign directory set --help', {
            exitCode: 2,
          });
        }
        const session = openSession(command);
        const reply = await change(session, name, body);
        printWrite(session, reply, `changed ${name}`);
      },
    );
}

async function change(session: Session, name: string, body: object): Promise<unknown> {
  try {
    return await session.call({ method: 'PATCH', path: directoryPath(name), body });
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== 'secret_required') throw error;
    throw new CliError(`${error.message}: with --password-file FILE, or - for stdin`);
  }
}

function removeOne(directory: Command): void {
  directory
    .command('remove')
    .description('remove one; its users have to go or to be kept')
    .argument('<name>')
    .option('--keep-users', 'its users stay as they are, and nothing synchronises them any more')
    .action(async (name: string, { keepUsers }: { keepUsers?: boolean }, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({
        method: 'DELETE',
        path: directoryPath(name),
        ...(keepUsers && { query: { keepUsers: 'true' } }),
      });
      const { keptUsers } = reply as { keptUsers: number };
      const kept = keptUsers > 0 ? `; ${keptUsers} users of it stay` : '';
      printWrite(session, reply, `removed ${name}${kept}`);
    });
}

function testSome(directory: Command): void {
  directory
    .command('test')
    .description('what is wrong with one, or with any, seen from the node that answers')
    .argument('[name]')
    .action(async (name: string | undefined, _options, command: Command) => {
      const session = openSession(command);
      const names =
        name === undefined ? (await readDirectories(session)).map((d) => d.name) : [name];
      const reports: Record<string, DirectoryTestReport> = {};
      for (const each of names) reports[each] = await test(session, directoryPath(each, 'test'));
      if (session.json) printJson(reports);
      else for (const [each, report] of Object.entries(reports)) printReport(each, report);
      if (Object.values(reports).some(({ ok }) => !ok)) process.exitCode = 1;
    });
}

async function test(session: Session, path: string, body?: object): Promise<DirectoryTestReport> {
  const asked = session.call({
    method: 'POST',
    path,
    timeoutMs: DIRECTORY_TIMEOUT_MS,
    ...(body && { body }),
  });
  return (await withSpinner('testing the directory', asked)) as DirectoryTestReport;
}

function printReport(name: string, untrusted: DirectoryTestReport): void {
  const { ok, line, servers, seen } = escapeAll(untrusted);
  const counts = [
    [seen.people, 'people'],
    [seen.groups, 'groups'],
    [seen.containers, 'containers'],
  ].flatMap(([count, what]) => (count === null ? [] : [`${count} ${what}`]));
  printLines([
    `${escapeUntrusted(name)}: ${ok ? 'ok' : 'WRONG'}: ${line}`,
    ...servers.map((server) => `  ${server.ok ? 'ok   ' : 'WRONG'} ${server.url}: ${server.line}`),
    ...(seen.server === null ? [] : [`  it is ${seen.server}`]),
    ...(seen.namingContexts.length > 0 ? [`  bases: ${seen.namingContexts.join('; ')}`] : []),
    ...(counts.length > 0 ? [`  ${counts.join(', ')}`] : []),
    ...(seen.changes === null ? [] : [`  changes: ${seen.changes}`]),
  ]);
}
