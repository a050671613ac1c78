import type { RadiusTargetView } from '@countersign/api';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { escapeAll } from '../escape-all.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { radiusSettingNames, readRadiusFields, readServer, showServer } from '../radius/fields.ts';
import { radiusPath, readSharedSecret, writeRadius } from '../radius/write.ts';
import { openSession } from '../session.ts';
import { collect } from '../setting-arguments.ts';
import { formatTable } from '../table.ts';

const HELP = `
A setting is written as name=value, a list with commas. Settings: ${radiusSettingNames('target')}.
Where a target gets another server, its secret has to be given again.`;

export function addRadiusTargetCommands(radius: Command): void {
  const target = radius.command('target').description('RADIUS servers asked for a first factor');
  addOne(target);
  listAll(target);
  showOne(target);
  setOne(target);
  removeOne(target);
}

type AddOptions = { host: string[]; secretFile?: string; set: string[] };

function addOne(target: Command): void {
  target
    .command('add')
    .description('add one; its secret is read from a file, from stdin, or asked for')
    .argument('<name>')
    .option('--host <host:port>', 'a server; repeat it for several, in order', collect, [])
    .option('--secret-file <file>', 'that holds the shared secret; - for stdin')
    .option('--set <name=value>', 'any other setting', collect, [])
    .addHelpText('after', HELP)
    .action(async (name: string, { host, secretFile, set }: AddOptions, command: Command) => {
      if (host.length === 0) throw usage('--host: which servers is it?');
      const body = {
        ...readRadiusFields('target', set),
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
  target.command('list').action(async (_options, command: Command) => {
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
