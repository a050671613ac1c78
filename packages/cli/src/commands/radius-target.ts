import type { RadiusTargetView } from '@countersign/api';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { escapeAll } from '../escape-all.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printWrite } from '../print-write.ts';
import {
  describeRadiusSettings,
  readOtherFields,
  readRadiusFields,
  readServer,
  showServer,
} from '../radius/fields.ts';
import { radiusPath, readSharedSecret, writeRadius } from '../radius/write.ts';
import { openSession } from '../session.ts';
import { collect } from '../setting-arguments.ts';
import { formatTable } from '../table.ts';

const HELP = `
A setting is written as name=value, a list with commas between.
${describeRadiusSettings('target')}

All servers have one secret. A target that gets another server needs it again (--secret-file).
A client asks it with firstFactor=radius:NAME.`;

export function addRadiusTargetCommands(radius: Command): void {
  const target = radius.command('target').description('RADIUS servers asked for a first factor');
  addOne(target);
  listAll(target);
  showOne(target);
  setOne(target);
  removeOne(target);
}

type AddOptions = { host?: string[]; secretFile?: string; set?: string[] };

function addOne(target: Command): void {
  target
    .command('add')
    .description('add one; its secret is read from a file, from stdin, or asked for')
    .argument('<name>')
    .option('--host <host:port>', 'a server (port 1812); repeat it for several, in order', collect)
    .option('--secret-file <file>', 'that holds the shared secret; - for stdin')
    .option('--set <name=value>', 'any other setting, below', collect)
    .addHelpText('after', HELP)
    .action(async (name: string, options: AddOptions, command: Command) => {
      const { host = [], secretFile, set = [] } = options;
      if (host.length === 0) throw usage('--host: which servers is it?');
      const body = {
        ...readOtherFields('target', set, ['name', 'servers']),
        name,
        servers: host.map(readServer),
        secret: await readSharedSecret(secretFile, name),
      };
      const session = openSession(command);
      await writeRadius(
        session,
        { method: 'POST', path: radiusPath('targets'), body },
        `added ${name}`,
      );
    });
}

function listAll(target: Command): void {
  target
    .command('list')
    .description('all of them')
    .action(async (_options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'GET', path: radiusPath('targets') });
      if (session.json) return printJson(reply);
      const { targets } = reply as { targets: RadiusTargetView[] };
      const rows = targets.map(({ name, servers, messageAuthenticator, timeoutMs }) => [
        name,
        servers.map(showServer).join(','),
        messageAuthenticator,
        `${timeoutMs} ms`,
      ]);
      printTable(['NAME', 'SERVERS', 'MESSAGE-AUTHENTICATOR', 'TIME-OUT'], rows);
    });
}

function showOne(target: Command): void {
  target
    .command('show')
    .description('one of them, with all its settings')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'GET', path: radiusPath('targets', name) });
      if (session.json) return printJson(reply);
      const found = escapeAll(reply as RadiusTargetView);
      const settings = [
        ['  servers', found.servers.map(showServer).join(',')],
        ['  messageAuthenticator', found.messageAuthenticator],
        ['  timeoutMs', String(found.timeoutMs)],
        ['  passAttributes', found.passAttributes.join(',') || '-'],
      ];
      printLines([found.name, ...formatTable(['settings:', ''], settings)]);
    });
}

function setOne(target: Command): void {
  target
    .command('set')
    .description('change what is named')
    .argument('<name>')
    .argument('[settings...]', 'as name=value')
    .option('--secret-file <file>', 'that holds its new secret; - for stdin')
    .addHelpText('after', HELP)
    .action(
      async (
        name: string,
        settings: string[],
        { secretFile }: { secretFile?: string },
        command: Command,
      ) => {
        const body = {
          ...readRadiusFields('target', settings),
          ...(secretFile !== undefined && { secret: await readSharedSecret(secretFile, name) }),
        };
        if (Object.keys(body).length === 0) {
          throw usage('nothing to change: see countersign radius target set --help');
        }
        const session = openSession(command);
        const path = radiusPath('targets', name);
        await writeRadius(session, { method: 'PATCH', path, body }, `changed ${name}`);
      },
    );
}

function removeOne(target: Command): void {
  target
    .command('remove')
    .description('remove one that is no first factor of any client')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'DELETE', path: radiusPath('targets', name) });
      printWrite(session, reply, `removed ${name}`);
    });
}

function usage(message: string): CliError {
  return new CliError(message, { exitCode: 2 });
}
