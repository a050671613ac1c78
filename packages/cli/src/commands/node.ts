import type { ClusterView } from '@countersign/api';
import type { Command } from 'commander';
import { escapeUntrusted } from '@countersign/verification';
import { CliError } from '../cli-error.ts';
import { printLines } from '../print.ts';
import { printWrite } from '../print-write.ts';
import { openSession, type Session } from '../session.ts';

async function hasOperatorsNats(session: Session): Promise<boolean> {
  const view = await session
    .call({ method: 'GET', path: '/api/v1/cluster' })
    .catch(() => ({ operatorsNats: false }));
  return (view as Pick<ClusterView, 'operatorsNats'>).operatorsNats === true;
}

type Removed = {
  isWitness: boolean;
  isOnline: boolean;
  isLogServer: boolean;
  keysRotate: boolean;
  joinTokens: string[];
  invitations: string[];
  apiKeys: { name: string }[];
};

const NAMES_SHOWN = 20;

export function addNodeCommand(program: Command): void {
  const node = program
    .command('node')
    .description('run a node: its engines, replication agent and auth workers')
    .option('--config <file>', "the node's configuration")
    .action(async ({ config }: { config?: string }) => {
      if (config === undefined) throw new CliError('give --config FILE', { exitCode: 2 });
      // Loaded only here: it brings in everything a node runs.
      const { runNode } = await import('@countersign/node');
      await runNode({ configFile: config });
    });
  node
    .command('remove')
    .description('shut a node out for good, and forget it')
    .argument('<name>')
    .option('--even-online', 'although it runs, or is a log server: nobody asks it')
    .action(async (name: string, options: { evenOnline?: boolean }, command: Command) => {
      const session = openSession(command);
      const path = `/api/v1/cluster/nodes/${encodeURIComponent(name)}`;
      const query = { evenOnline: String(options.evenOnline ?? false) };
      const reply = await session.call({ method: 'DELETE', path, query });
      printWrite(session, reply, `forgot ${name}`);
      if (!session.json) printLines(afterRemoval(name, reply as Removed));
      if (!session.json && (await hasOperatorsNats(session))) {
        printLines([
          `its keys still count at your own NATS: put "countersign nats-config" into the configuration of its servers`,
          'and reload each of them (nats-server --signal reload)',
        ]);
      }
    });
  node
    .command('replace')
    .description("put another node's log server in the place of one that is gone for good")
    .argument('<name>')
    .argument('<by>', 'a node that is online and has a log server of its own')
    .action(async (name: string, by: string, _options, command: Command) => {
      const session = openSession(command);
      const path = `/api/v1/cluster/nodes/${encodeURIComponent(name)}/replace`;
      const reply = await session.call({ method: 'POST', path, body: { by } });
      printWrite(session, reply, `the log moves: ${by} in place of ${name}`);
    });
}

/** What is left to do by hand. */
function afterRemoval(name: string, removed: Removed): string[] {
  const { isOnline, isLogServer, keysRotate, joinTokens, invitations, apiKeys } = removed;
  if (removed.isWitness) {
    return isLogServer ? ['the log moves to the servers that are left, by itself'] : [];
  }
  const named = (names: string[]) => {
    const more = names.length > NAMES_SHOWN ? `, and ${names.length - NAMES_SHOWN} more` : '';
    const shown = names.slice(0, NAMES_SHOWN).join(', ');
    return `${names.length}${names.length > 0 ? ` (${escapeUntrusted(shown, 4000)}${more})` : ''}`;
  };
  return [
    keysRotate
      ? "the cluster's key is being changed: countersign keys show; all administrators sign in again"
      : "the cluster's key is NOT being changed yet: countersign keys rotate",
    `join tokens revoked: ${joinTokens.length}; invitations ended: ${named(invitations)}`,
    `API keys to look through, and to make anew where that node was not trusted: ${named(apiKeys.map((key) => key.name))}`,
    ...(isLogServer
      ? [
          `${name} is still counted among the log servers: countersign node replace ${name} ANOTHER-NODE`,
        ]
      : []),
    ...(isOnline
      ? [
          `${name} stops by itself if it is honest; in any case take it from the load balancer and from RADIUS devices and switch it off`,
        ]
      : []),
  ];
}
