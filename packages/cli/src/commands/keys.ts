import type { ClusterView } from '@countersign/api';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { describeKeys } from '../describe-keys.ts';
import { escapeAll } from '../escape-all.ts';
import { printJson } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { openSession } from '../session.ts';

export function addKeysCommands(program: Command): void {
  const keys = program
    .command('keys')
    .description("the cluster's keys: their generations and where they lie");
  addShow(keys);
  addRotate(keys);
  addUnwrap(keys);
}

function addShow(keys: Command): void {
  keys
    .command('show')
    .description('the generations there are, who has them, and how far a change of the key is')
    .action(async (_options, command: Command) => {
      const session = openSession(command);
      const view = await session.call({ method: 'GET', path: '/api/v1/cluster' });
      const { keys: shown } = view as ClusterView;
      if (!shown) throw new CliError('no node tells which keys it has: is its agent running?');
      if (session.json) return printJson(shown);
      process.stdout.write(describeKeys(escapeAll(shown), Date.now()));
    });
}

function addRotate(keys: Command): void {
  keys
    .command('rotate')
    .description(
      "change the cluster's key: every node gets a new one, and everything is sealed anew in the background",
    )
    .option('--reason <text>', 'why, for the audit')
    .action(async ({ reason }: { reason?: string }, command: Command) => {
      const session = openSession(command);
      const path = '/api/v1/cluster/keys/rotate';
      const body = reason === undefined ? {} : { reason };
      const reply = await session.call({ method: 'POST', path, body });
      const { generation, isNew } = reply as { generation: string; isNew: boolean };
      const text = isNew
        ? `the generation ${generation} is on its way to all nodes: countersign keys show`
        : `a change to ${generation} is under way already: countersign keys show`;
      printWrite(session, reply, text);
    });
}

function addUnwrap(keys: Command): void {
  keys
    .command('unwrap')
    .description(
      'write the cluster key file of a stopped node in the clear: its key-encryption key is no longer needed',
    )
    .requiredOption('--config <file>', "the node's configuration, which names that key")
    .action(async ({ config }: { config: string }) => {
      const { readNodeConfig, unwrapKeyRing } = await import('@countersign/node');
      const { wasWrapped } = await unwrapKeyRing(readNodeConfig(config));
      console.log(
        wasWrapped
          ? 'the cluster key file is not encrypted any more: start the node without the key-encryption key, or with another'
          : 'the cluster key file is not encrypted',
      );
    });
}
