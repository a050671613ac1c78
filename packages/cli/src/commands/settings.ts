import {
  escapeUntrusted,
  findSetting,
  overridableNames,
  settingNames,
} from '@countersign/verification';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import {
  describeSetting,
  describeSettings,
  originOf,
  showValue,
  type Values,
} from '../describe-settings.ts';
import { printJson, printLines } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { openSession, type Session } from '../session.ts';
import { collect, readPairs, readValue, settingNamed } from '../setting-arguments.ts';
import { applicationPath } from './application.ts';

const PATH = '/api/v1/settings';

type ApplicationOption = { application?: string };

export function addSettingsCommands(program: Command): void {
  const settings = program.command('settings').description('read and change settings');
  listAll(settings);
  getSettings(settings);
  setSetting(settings);
  resetSetting(settings);
  describe(settings);
}

function listAll(settings: Command): void {
  settings
    .command('list')
    .description('what is in force, and what of it is the default')
    .option('--application <name>', 'what is in force at an application')
    .action(async (options: ApplicationOption, command: Command) => {
      await printAll(openSession(command), options.application);
    });
}

function getSettings(settings: Command): void {
  settings
    .command('get')
    .description('what is in force')
    .argument('[name]', 'one setting, like lockout.failures; default: all')
    .option('--application <name>', 'what is in force at an application')
    .action(async (name: string | undefined, options: ApplicationOption, command: Command) => {
      const session = openSession(command);
      if (name === undefined) return printAll(session, options.application);
      const { values } = await readValues(session, options.application);
      if (!Object.hasOwn(values, name)) throw new CliError(`there is no setting ${name}`);
      if (session.json) return printJson({ [name]: values[name] });
      const lines = showValue(values[name]).split(/\r?\n/);
      printLines(lines.map((line) => escapeUntrusted(line, 32_768)));
    });
}

function setSetting(settings: Command): void {
  settings
    .command('set')
    .description('change one, for everybody or for an application')
    .argument('<name>')
    .argument('[value]', '@FILE reads it from a file; a secret is asked for, or read from stdin')
    .option('--and <name=value>', 'another one of the group, in the same change', collect, [])
    .option('--application <name>', 'for one application')
    .action(
      async (
        name: string,
        value: string | undefined,
        options: ApplicationOption & { and: string[] },
        command: Command,
      ) => {
        const session = openSession(command);
        // A secret among the others is asked for after what was typed is known to be right.
        const body = { [name]: await readValue(name, value), ...(await readPairs(options.and)) };
        const told = Object.entries(body).map(
          ([each, given]) => `${each} is ${findSetting(each).secret ? 'set' : given}`,
        );
        await change(session, options, body, told.join(', '));
      },
    );
}

function resetSetting(settings: Command): void {
  settings
    .command('reset')
    .description('take a setting back to its default, or that of an application to the company’s')
    .argument('<name>')
    .option('--application <name>', 'for one application')
    .action(async (name: string, options: ApplicationOption, command: Command) => {
      settingNamed(name);
      const to = options.application === undefined ? 'its default' : "the company's";
      await change(openSession(command), options, { [name]: null }, `${name} is ${to}`);
    });
}

function describe(settings: Command): void {
  settings
    .command('describe')
    .description('what a setting means and may be')
    .argument('[name]', 'default: all')
    .action((name: string | undefined, _options: object, command: Command) => {
      const names = name === undefined ? settingNames : [name];
      const { json } = command.optsWithGlobals<{ json?: boolean }>();
      if (!json) return printLines(names.flatMap((each) => describeOne(each)));
      printJson(Object.fromEntries(names.map((each) => [each, definitionOf(each)])));
    });
}

function describeOne(name: string): string[] {
  settingNamed(name);
  return describeSetting(name);
}

function definitionOf(name: string): object {
  const { kind, allowed, unit, standard, about, overriddenBy, secret } = settingNamed(name);
  return { kind, allowed, unit, default: standard, about, overriddenBy, secret: secret !== null };
}

async function change(
  session: Session,
  { application }: ApplicationOption,
  settings: Record<string, string | null>,
  done: string,
): Promise<void> {
  const reply =
    application === undefined
      ? await session.call({ method: 'PATCH', path: PATH, body: settings })
      : await session.call({
          method: 'PATCH',
          path: applicationPath(application),
          body: { settings },
        });
  printWrite(session, reply, application === undefined ? done : `${done} at ${application}`);
}

async function printAll(session: Session, application: string | undefined): Promise<void> {
  const { reply, values, own } = await readValues(session, application);
  if (session.json) return printJson(application === undefined ? reply : { settings: values, own });
  const origin = (name: string, value: unknown) => {
    if (own.includes(name)) return `of ${application}`;
    return originOf(name, value);
  };
  printLines(describeSettings(values, origin));
}

/** What is in force, at an application only what it could have of its own. */
async function readValues(
  session: Session,
  application: string | undefined,
): Promise<{ reply: unknown; values: Values; own: string[] }> {
  const reply = await session.call({ method: 'GET', path: PATH });
  const { settings } = reply as { settings: Values };
  if (application === undefined) return { reply, values: settings, own: [] };
  const path = applicationPath(application);
  const found = (await session.call({ method: 'GET', path })) as { settings: Values };
  const values = Object.fromEntries(
    overridableNames.map((name) => [name, found.settings[name] ?? settings[name]]),
  );
  return { reply, values, own: Object.keys(found.settings) };
}
