import { join } from 'node:path';
import type { Command } from 'commander';
import { addNewNodeOptions, newNodeOf, type NewNodeOptions } from '../new-node-options.ts';
import { printJson, printLines } from '../print.ts';

export function addInitCommand(program: Command): void {
  const init = program
    .command('init')
    .description('found a cluster on this machine: its keys, its CA and its first node');
  addNewNodeOptions(init).action(async (options: NewNodeOptions, command: Command) => {
    const { quote } = await import('@countersign/doctor/finding');
    const { foundCluster } = await import('@countersign/node');
    const node = newNodeOf(options);
    const founded = await foundCluster(node);
    if (command.optsWithGlobals<{ json?: boolean }>().json) return printJson(founded);
    const { clusterId, isConfigNew, dataDirectory } = founded;
    printLines([
      `founded the cluster ${clusterId} with ${node.name} in ${dataDirectory}`,
      `configuration: ${node.configFile}${isConfigNew ? ' (written)' : ''}`,
      `start it:      systemctl enable --now countersign`,
      `or by hand:    countersign node --config ${quote(node.configFile)}`,
      '               its first start says where the first API key and the first invitation lie',
      `keep a copy, off this machine, of ${join(dataDirectory, 'cluster.key')}`,
      'then, there:   countersign join-token create',
    ]);
  });
}
