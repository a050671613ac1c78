import type { RadiusClientView } from '@countersign/api';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { escapeAll } from '../escape-all.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printWrite } from '../print-write.ts';
import {
  describeRadiusSettings,
  readFirstFactor,
  readNetworks,
  readOtherFields,
  readRadiusFields,
  readReply,
  showFirstFactor,
} from '../radius/fields.ts';
import { radiusPath, readSharedSecret, writeRadius } from '../radius/write.ts';
import { openSession } from '../session.ts';
import { collect } from '../setting-arguments.ts';
import { formatTable } from '../table.ts';

const HELP = `
A setting is written as name=value, a list with commas between.
${describeRadiusSettings('client')}

A client that gets another address needs its secret again (--secret-file).
docs/integrations/radius.md says what each setting does.`;

export function addRadiusClientCommands(radius: Command): void {
  const client = radius.command('client').description('who may ask, from where');
  addOne(client);
  listAll(client);
  showOne(client);
  setOne(client);
  removeOne(client);
}

type AddOptions = {
  application: string;
  address?: string[];
  firstFactor?: string;
  secretFile?: string;
  reply?: string[];
  set?: string[];
};

function addOne(client: Command): void {
  client
    .command('add')
    .description('add one; its secret is read from a file, from stdin, or asked for')
    .argument('<name>')
    .requiredOption('--application <name>', 'whose settings go, and whose name stands in events')
    .option('--address <addresses>', 'where it asks from: addresses or networks', collect)
    .option('--first-factor <what>', 'directory, directory:NAME,NAME, radius:TARGET or none')
    .option('--secret-file <file>', 'that holds the shared secret; - for stdin')
    .option(
      '--reply <attribute=value>',
      'in every accept, as Class=staff; or of a group alone, as sales:Class=staff',
      collect,
    )
    .option('--set <name=value>', 'any other setting, below', collect)
    .addHelpText('after', HELP)
    .action(async (name: string, options: AddOptions, command: Command) => {
      const { application, address = [], firstFactor, secretFile, reply = [], set = [] } = options;
      const addresses = address.flatMap(readNetworks);
      if (addresses.length === 0) throw usage('--address: where does it ask from?');
      const body = {
        ...readOtherFields('client', set, [
          'name',
          'application',
          'addresses',
          ...(firstFactor === undefined ? [] : ['firstFactor']),
        ]),
        name,
        application,
        addresses,
        ...(firstFactor !== undefined && { firstFactor: readFirstFactor(firstFactor) }),
        ...(reply.length > 0 && { replies: reply.map(readReply) }),
        secret: await readSharedSecret(secretFile, name),
      };
      const session = openSession(command);
      await writeRadius(
        session,
        { method: 'POST', path: radiusPath('clients'), body },
        `added ${name}`,
      );
    });
}

function listAll(client: Command): void {
  client
    .command('list')
    .description('all of them')
    .action(async (_options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'GET', path: radiusPath('clients') });
      if (session.json) return printJson(reply);
      const { clients } = reply as { clients: RadiusClientView[] };
      const rows = clients.map(({ name, enabled, application, addresses, ...rest }) => [
        name,
        enabled ? 'enabled' : 'disabled',
        application,
        addresses[0]! + (addresses.length > 1 ? ` +${addresses.length - 1}` : ''),
        showFirstFactor(rest.firstFactor),
        rest.messageAuthenticator,
      ]);
      const headings = ['NAME', 'STATE', 'APPLICATION', 'ADDRESSES', 'FIRST FACTOR'];
      printTable([...headings, 'MESSAGE-AUTHENTICATOR'], rows);
    });
}

function showOne(client: Command): void {
  client
    .command('show')
    .description('one of them, with all its settings and what is not advised')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'GET', path: radiusPath('clients', name) });
      if (session.json) return printJson(reply);
      printLines(describeClient(escapeAll(reply as RadiusClientView)));
    });
}

function describeClient(client: RadiusClientView): string[] {
  const { id: _id, name, enabled, addresses, firstFactor, replies, warnings, ...rest } = client;
  const { createdAt: _created, updatedAt: _updated, ...plain } = rest;
  const settings = [
    ['  addresses', addresses.join(',')],
    ['  firstFactor', showFirstFactor(firstFactor)],
    ...Object.entries(plain).map(([each, value]) => [`  ${each}`, String(value)]),
  ];
  return [
    `${name}: ${enabled ? 'enabled' : 'disabled'}`,
    ...formatTable(['settings:', ''], settings),
    ...(replies.length === 0
      ? ['nothing is added to its accepts']
      : formatTable(
          ['REPLIES TO', 'ATTRIBUTE', 'VALUE'],
          replies.map(({ group, attribute, value }) => [group ?? 'everybody', attribute, value]),
        )),
    ...warnings.map((warning) => `warning: ${warning}`),
  ];
}

type SetOptions = { secretFile?: string; reply?: string[]; replies: boolean };

function setOne(client: Command): void {
  client
    .command('set')
    .description('change what is named')
    .argument('<name>')
    .argument('[settings...]', 'as name=value')
    .option('--secret-file <file>', 'that holds its new secret; - for stdin')
    .option('--reply <attribute=value>', 'in place of all it has; repeat it for several', collect)
    .option('--no-replies', 'add nothing to its accepts')
    .addHelpText('after', HELP)
    .action(async (name: string, settings: string[], options: SetOptions, command: Command) => {
      const { secretFile, reply = [], replies } = options;
      if (reply.length > 0 && !replies) throw usage('--reply and --no-replies exclude each other');
      const body = {
        ...readRadiusFields('client', settings),
        ...(reply.length > 0 && { replies: reply.map(readReply) }),
        ...(!replies && { replies: [] }),
        ...(secretFile !== undefined && { secret: await readSharedSecret(secretFile, name) }),
      };
      if (Object.keys(body).length === 0) {
        throw usage('nothing to change: see countersign radius client set --help');
      }
      const session = openSession(command);
      const path = radiusPath('clients', name);
      await writeRadius(session, { method: 'PATCH', path, body }, `changed ${name}`);
    });
}

function removeOne(client: Command): void {
  client
    .command('remove')
    .description('what it sends is dropped from then on')
    .argument('<name>')
    .action(async (name: string, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'DELETE', path: radiusPath('clients', name) });
      printWrite(session, reply, `removed ${name}`);
    });
}

function usage(message: string): CliError {
  return new CliError(message, { exitCode: 2 });
}
