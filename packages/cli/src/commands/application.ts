import { escapeUntrusted } from '@countersign/verification';
import { Option } from 'commander';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { describeSettings, showValue, type Values } from '../describe-settings.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { openSession } from '../session.ts';
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
  withFields(application.command('add').argument('<name>'))
    .option('--disable', 'add it disabled: every verification is denied')
    .action(async (name: string, options: Fields, command: Command) => {
      const session = openSession(command);
      const body = { name, ...(await bodyOf(options)) };
      const reply = await session.call({ method: 'POST', path: PATH, body });
      printWrite(session, reply, `added ${name}`);
    });
}

function listApplications(application: Command): void {
  application.command('list').action(async (_options, command: Command) => {
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
        ...describeSettings(found.settings, () => ''),
      ]);
    });
}

function setApplication(application: Command): void {
  withFields(application.command('set').argument('<name>'))
    .option('--name <new>', 'give it another name')
    .option('--enable', 'let it ask for verifications')
    .option('--disable', 'deny every verification')
    .option('--reset <setting>', "take a setting back to the company's", collect, [])
    .action(async (name: string, options: Fields, command: Command) => {
      const body = { ...(await bodyOf(options)), ...(options.name && { name: options.name }) };
      if (Object.keys(body).length === 0) {
        throw new CliError('nothing to change: see countersign application set --help', {
          exitCode: 2,
        });
      }
      const session = openSession(command);
      const reply = await session.call({ method: 'PATCH', path: applicationPath(name), body });
      printWrite(session, reply, `changed ${name}`);
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
    .addOption(
      new Option(
        '--user-match <how>',
        'whether whoever is no user is denied, or passes by the first factor',
      ).choices(['require', 'pass']),
    )
    .option('--set <name=value>', 'a setting of its own, like methods.default=text', collect, []);
}

async function bodyOf(options: Fields): Promise<object> {
  if (options.enable && options.disable) {
    throw new CliError('--enable and --disable exclude each other', { exitCode: 2 });
  }
  const reset = options.reset ?? [];
  for (const name of reset) settingNamed(name);
  const settings = {
    ...(await readPairs(options.set)),
    ...Object.fromEntries(reset.map((name) => [name, null])),
  };
  return {
    ...(options.enable && { enabled: true }),
    ...(options.disable && { enabled: false }),
    ...(options.userMatch !== undefined && { userMatch: options.userMatch }),
    ...(Object.keys(settings).length > 0 && { settings }),
  };
}
