import { resolve } from 'node:path';
import type { Command } from 'commander';
import { parsePort } from './parse-port.ts';
import { collect } from './setting-arguments.ts';

export const CONFIG_FILE = '/etc/countersign/countersign.yaml';
const DATA_DIRECTORY = '/var/lib/countersign';
const HTTPS_PORT = 8443;

export type NewNodeOptions = {
  name: string;
  host: string[];
  config: string;
  data: string;
  port: number;
  natsUrl: string[];
  natsCa?: string;
};

/** What `init` and `join` want to know of the machine they are run on. */
export function addNewNodeOptions(command: Command): Command {
  return command
    .requiredOption('--name <name>', "the node's name in the cluster, such as node-1")
    .requiredOption(
      '--host <host>',
      'address or name by which the other nodes and clients reach it; repeat for several, the first is for the nodes',
      collect,
    )
    .option('--config <file>', 'its configuration; written if it is not there', CONFIG_FILE)
    .option('--data <directory>', 'its data, where there is no configuration yet', DATA_DIRECTORY)
    .option('--port <n>', 'of HTTPS, where there is no configuration yet', parsePort, HTTPS_PORT)
    .option(
      '--nats-url <url>',
      'server of a NATS of your own (tls://HOST:4222) that keeps the log, where there is no configuration yet; repeat for several, the nearest first',
      collect,
      [],
    )
    .option('--nats-ca <file>', 'PEM of who signs the certificates of those servers');
}

export function newNodeOf(options: NewNodeOptions) {
  const { name, host, config, data, port, natsUrl, natsCa } = options;
  const authority = natsCa === undefined ? {} : { authorityFile: resolve(natsCa) };
  return {
    name,
    hosts: host.map((each) => each.toLowerCase()),
    configFile: resolve(config),
    dataDirectory: resolve(data),
    httpPort: port,
    nats: natsUrl.length > 0 ? { urls: natsUrl, ...authority } : null,
  };
}
