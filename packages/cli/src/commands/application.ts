import type { RadiusClientView } from '@countersign/api';
import { escapeUntrusted, usernameKey } from '@countersign/verification';
import { Option } from 'commander';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { describeSettings, showValue, type Values } from '../describe-settings.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { readFlag } from '../radius/fields.ts';
import { radiusPath } from '../radius/write.ts';
import { openSession, type Session } from '../session.ts';
import { collect, readPairs, settingNamed } from '../setting-arguments.ts';

type Application = {
  name: string;
  enabled: boolean;
  userMatch: 'require' | 'pass';
  settings: Values;
};

type Fields = {
  name?: string;
  enable?: boolean;
  disable?: boolean;
  userMatch?: string;
  set: string[];
  reset?: string[];
};

const PATH = '/api/v1/applications';
const CLIENTS_NAMED = 10;

export function addApplicationCommands(program: Command): void {
  const application = program
    .command('application')
    .description('who asks for verifications, with settings of their own');
  addApplication(application);
  listApplications(application);
  showApplication(application);
  setApplication(application);
  removeApplication(application);
}

export function applicationPath(name: string): string {
  return `${PATH}/${encodeURIComponent(name)}`;
}

function addApplication(application: Command): void {
  withFields(application.command('add').description('add one').argument('<name>'))
    .option('--disable', 'add it disabled: every verification is denied')
    .action(async (name: string, pairs: string[], options: Fields, command: Command) => {
      const session = openSession(command);
      const body = { ...(await bodyOf(pairs, options)), name };
      const reply = await session.call({ method: 'POST', path: PATH, body });
      printWrite(session, reply, `added ${name}`);
    });
}

function listApplications(application: Command): void {
  const list = application.command('list').description('all of them, and what is their own');
  list.action(async (_options, command: Command) => {
    const session = openSession(command);
    const reply = await session.call({ method: 'GET', path: PATH });
    if (session.json) return printJson(reply);
    const { applications } = reply as { applications: Application[] };
    const rows = applications.map(({ name, enabled, userMatch, settings }) => [
      name,
      enabled ? 'enabled' : 'disabled',
      userMatch,
      Object.entries(settings)
        .map(([each, value]) => `${each}=${showValue(value)}`)
        .join(' ') || '-',
    ]);
    printTable(['NAME', 'STATE', 'USER MATCH', 'OWN SETTINGS'], rows);
  });
}

function showApplication(application: Command): void {
  application
    .command('show')
    .description('one of them, with its own settings and its RADIUS clients')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'GET', path: applicationPath(name) });
      if (session.json) return printJson(reply);
      const found = reply as Application;
      const match =
        found.userMatch === 'require' ? 'denies whoever is no user' : 'passes whoever is no user';
      printLines([
        `${escapeUntrusted(found.name)}: ${found.enabled ? 'enabled' : 'disabled'}, ${match}`,
        ...(Object.keys(found.settings).length === 0
          ? ["its settings are the company's"]
          : describeSettings(found.settings, () => '')),
        ...describeClients(await clientsOf(session, found.name)),
      ]);
    });
}

async function clientsOf(session: Session, application: string): Promise<RadiusClientView[]> {
  const reply = await session.call({ method: 'GET', path: radiusPath('clients') });
  const { clients } = reply as { clients: RadiusClientView[] };
  return clients.filter((each) => usernameKey(each.application) === usernameKey(application));
}

function describeClients(clients: RadiusClientView[]): string[] {
  if (clients.length === 0) return [];
  const named = clients.slice(0, CLIENTS_NAMED).map(({ name }) => escapeUntrusted(name));
  const more = clients.length > named.length ? [`and ${clients.length - named.length} more`] : [];
  return [`RADIUS clients: ${[...named, ...more].join(', ')}`];
}

/** The change is done: that its consequences cannot be read must not look like a failure. */
async function warnOfClients(session: Session, application: string): Promise<void> {
  const clients = await clientsOf(session, application).catch(() => []);
  for (const { name, firstFactor, warnings } of clients) {
    if (firstFactor.kind !== 'none') continue;
    for (const warning of warnings) {
      process.stderr.write(`countersign: RADIUS client ${escapeUntrusted(name)}: `);
      process.stderr.write(`${escapeUntrusted(warning, 300)}\n`);
    }
  }
}

function setApplication(application: Command): void {
  withFields(application.command('set').description('change what is named').argument('<name>'))
    .option('--name <new>', 'give it another name')
    .option('--enable', 'let it ask for verifications')
    .option('--disable', 'deny every verification')
    .option('--reset <setting>', "take a setting back to the company's", collect, [])
    .action(async (name: string, pairs: string[], options: Fields, command: Command) => {
      const body = {
        ...(await bodyOf(pairs, options)),
        ...(options.name && { name: options.name }),
      };
      if (Object.keys(body).length === 0) {
        throw usage('nothing to change: see countersign application set --help');
      }
      const session = openSession(command);
      const reply = await session.call({ method: 'PATCH', path: applicationPath(name), body });
      printWrite(session, reply, `changed ${name}`);
      if ('userMatch' in body) await warnOfClients(session, options.name ?? name);
    });
}

function removeApplication(application: Command): void {
  application
    .command('remove')
    .description("who asks under its name gets the company's settings")
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'DELETE', path: applicationPath(name) });
      printWrite(session, reply, `removed ${name}`);
    });
}

function withFields(command: Command): Command {
  return command
    .argument('[settings...]', 'as name=value: userMatch, enabled, or a setting of its own')
    .addOption(
      new Option(
        '--user-match <how>',
        'whether whoever is no user is denied, or passes by the first factor',
      ).choices(['require', 'pass']),
    )
    .option('--set <name=value>', 'a setting of its own, like methods.default=text', collect, []);
}

/** What the API shows beside the settings is written like them, too. */
function readOwnFields(pairs: readonly string[]): { fields: object; settings: string[] } {
  const fields: Record<string, unknown> = {};
  const settings: string[] = [];
  for (const pair of pairs) {
    const [, name, value = ''] = /^(userMatch|enabled)=(.*)$/s.exec(pair) ?? [];
    if (name === undefined) settings.push(pair);
    else if (Object.hasOwn(fields, name)) throw usage(`${name} comes twice`);
    else fields[name] = name === 'enabled' ? readFlag(value, name) : value;
  }
  return { fields, settings };
}

function usage(message: string): CliError {
  return new CliError(message, { exitCode: 2 });
}

async function bodyOf(pairs: readonly string[], options: Fields): Promise<object> {
  if (options.enable && options.disable) {
    throw usage('--enable and --disable exclude each other');
  }
  const reset = options.reset ?? [];
  for (const name of reset) settingNamed(name);
  const own = readOwnFields([...pairs, ...options.set]);
  const settings = {
    ...(await readPairs(own.settings)),
    ...Object.fromEntries(reset.map((name) => [name, null])),
  };
  return {
    ...own.fields,
    ...(options.enable && { enabled: true }),
    ...(options.disable && { enabled: false }),
    ...(options.userMatch !== undefined && { userMatch: options.userMatch }),
    ...(Object.keys(settings).length > 0 && { settings }),
  };
}
