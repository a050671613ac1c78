import { escapeUntrusted, type SyncItem } from '@countersign/verification';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { ITEM_HEADINGS, linesOfItem, rowsOfItems } from '../directory/describe-item.ts';
import {
  itemOf,
  placeOf,
  withItemOptions,
  withPlaceOptions,
  type ItemOptions,
  type PlaceOptions,
} from '../directory/item-options.ts';
import { directoryPath } from '../directory/paths.ts';
import { escapeAll } from '../escape-all.ts';
import { printJson, printLines, printTable } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { openSession } from '../session.ts';

/** Sync items: whose people become users, and how. */
export function addItemCommands(directory: Command): void {
  directory
    .command('items')
    .description('sync items: the first that a person is in decides')
    .argument('<directory>')
    .action(async (name: string, _options, command: Command) => {
      const session = openSession(command);
      const reply = await session.call({ method: 'GET', path: directoryPath(name, 'items') });
      if (session.json) return printJson(reply);
      printTable(ITEM_HEADINGS, rowsOfItems((reply as { items: SyncItem[] }).items));
    });
  const item = directory.command('item').description('one sync item of a directory');
  addItem(item);
  showItem(item);
  setItem(item);
  moveItem(item);
  removeItem(item);
}

function addItem(item: Command): void {
  withPlaceOptions(withItemOptions(namingItem(item, 'add')))
    .description('add one, behind the others unless a place is given')
    .action(async (name: string, itemName: string, options: ItemOptions, command: Command) => {
      const given = itemOf(options);
      if (given.scope === undefined) {
        throw new CliError('whose people? Give --group DN, --container DN or --domain', {
          exitCode: 2,
        });
      }
      const place = placeOf(options);
      const session = openSession(command);
      const reply = await session.call({
        method: 'POST',
        path: directoryPath(name, 'items'),
        body: { name: itemName, ...given, ...(place && { place }) },
      });
      printWrite(session, reply, `added ${itemName} to ${name}`);
    });
}

function showItem(item: Command): void {
  namingItem(item, 'show')
    .description('one of them, with all its settings')
    .action(async (name: string, itemName: string, _options, command: Command) => {
      const session = openSession(command);
      const path = directoryPath(name, 'items', itemName);
      const reply = await session.call({ method: 'GET', path });
      if (session.json) return printJson(reply);
      const found = escapeAll(reply as SyncItem);
      printLines([`${found.name}:`, ...linesOfItem(found).map((line) => `  ${line}`)]);
    });
}

function setItem(item: Command): void {
  withItemOptions(namingItem(item, 'set').description('change what is named'))
    .option('--name <new>', 'give it another name')
    .action(
      async (
        name: string,
        itemName: string,
        options: ItemOptions & { name?: string },
        command: Command,
      ) => {
        const body = { ...itemOf(options), ...(options.name && { name: options.name }) };
        if (Object.keys(body).length === 0) {
          throw new CliError('nothing to change: see countersign directory item set --help', {
            exitCode: 2,
          });
        }
        const session = openSession(command);
        const path = directoryPath(name, 'items', itemName);
        const reply = await session.call({ method: 'PATCH', path, body });
        printWrite(session, reply, `changed ${itemName} of ${name}`);
      },
    );
}

function moveItem(item: Command): void {
  withPlaceOptions(namingItem(item, 'move'))
    .description('give it another priority')
    .action(async (name: string, itemName: string, options: PlaceOptions, command: Command) => {
      const body = placeOf(options);
      if (!body) {
        throw new CliError('where to? Give --before ITEM, --after ITEM or --position NUMBER', {
          exitCode: 2,
        });
      }
      const session = openSession(command);
      const path = directoryPath(name, 'items', itemName, 'move');
      const reply = await session.call({ method: 'POST', path, body });
      printWrite(session, reply, `moved ${itemName} of ${name}`);
    });
}

function removeItem(item: Command): void {
  namingItem(item, 'remove')
    .description('whoever no other item takes is disabled with the next synchronisation')
    .option('--yes', 'do it; otherwise it is only told what that would be')
    .action(
      async (name: string, itemName: string, { yes }: { yes?: boolean }, command: Command) => {
        const session = openSession(command);
        const path = directoryPath(name, 'items', itemName);
        if (!yes) {
          await session.call({ method: 'GET', path });
          const who = `users that no other item takes than ${itemName} are disabled with the next synchronisation`;
          throw new CliError(`${escapeUntrusted(who, 400)}; to do it: --yes`);
        }
        const reply = await session.call({ method: 'DELETE', path });
        printWrite(session, reply, `removed ${itemName} from ${name}`);
      },
    );
}

function namingItem(item: Command, verb: string): Command {
  return item.command(verb).argument('<directory>').argument('<item>', 'its name or id');
}
