import { escapeUntrusted } from '@countersign/verification';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { openSession } from '../session.ts';

const PATH = '/api/v1/settings';

export function addSettingsCommands(program: Command): void {
  const settings = program.command('settings').description('read and change settings');
  getSettings(settings);
  setSetting(settings);
}

function getSettings(settings: Command): void {
  settings
    .command('get')
    .argument('[name]', 'one setting, like lockout.failures; default: all')
    .action(async (name: string | undefined, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'GET', path: PATH });
      const values = (reply as { settings: Record<string, unknown> }).settings;
      if (name === undefined) {
        if (session.json) return printJson(reply);
        const rows = Object.entries(values).map(([each, value]) => [each, String(value)]);
        return printTable(['SETTING', 'VALUE'], rows);
      }
      if (!Object.hasOwn(values, name)) throw new CliError(`there is no setting ${name}`);
      if (session.json) return printJson({ [name]: values[name] });
      printLines([escapeUntrusted(String(values[name]))]);
    });
}

function setSetting(settings: Command): void {
  settings
    .command('set')
    .argument('<name>')
    .argument('<value>')
    .action(async (name: string, value: string, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'PATCH', path: PATH, body: { [name]: value } });
      printWrite(session, reply, `${name} is ${value}`);
    });
}
