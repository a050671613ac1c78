import { lookup } from 'node:dns/promises';
import { existsSync, readdirSync, renameSync } from 'node:fs';
import { isIP } from 'node:net';

import { readIdentity } from '@countersign/identity';
import { syncPath } from '@countersign/private-files';

import {
  parseNodeConfig,
  readNodeConfig,
  type NodeConfig,
  type NodeConfigInput,
} from './config.ts';
import { identityFolderOf } from './log-access.ts';
import { lockFolder } from './lock-folder.ts';
import { makeDataFolder } from './make-data-folder.ts';
import { NodeError } from './node-error.ts';
import { isLoopback } from './url-host.ts';
import { roleOf } from './role-of.ts';

/** How the new node is to be called and reached; what the configuration says too, where there is one. */
export interface NewNode {
  configFile: string;
  name: string;
  /** Names and addresses for its certificate; the first is where the other nodes reach it. */
  hosts: string[];
  /** Only where there is no configuration yet. */
  dataDirectory: string;
  httpPort: number;
  /** A NATS of the operator's own, absolute paths; null: the nodes run the log servers. */
  nats: { urls: string[]; authorityFile?: string } | null;
}

const KINDS = { founding: 'init', joining: 'join' } as const;
type Kind = keyof typeof KINDS;

/** Where an identity is put together; it counts from the moment in which it is called `identity`. */
export const draftFolderOf = (dataDirectory: string, kind: Kind) =>
  `${identityFolderOf(dataDirectory)}.${kind}`;

/** Throws NodeError where an `init` or `join` was interrupted: a node started now would not know who it is. */
export function refuseHalfDone(dataDirectory: string): void {
  for (const [kind, command] of Object.entries(KINDS)) {
    const draft = draftFolderOf(dataDirectory, kind as Kind);
    if (existsSync(draft) && !existsSync(identityFolderOf(dataDirectory))) {
      throw new NodeError(
        `countersign ${command} was interrupted here: run it again, ` +
          `or give it up by removing ${draft}`,
      );
    }
  }
}

/** The node's configuration, or what there would be; a file that is there is not changed. */
export function findConfig(
  { configFile, name }: NewNode,
  input: NodeConfigInput,
): { config: NodeConfig; isThere: boolean } {
  if (!existsSync(configFile)) {
    const config = parseNodeConfig(JSON.stringify(input), configFile);
    return { config, isThere: false };
  }
  const config = readNodeConfig(configFile);
  if (config.name === name) return { config, isThere: true };
  throw new NodeError(`${configFile} is the configuration of ${config.name}, not of ${name}`);
}

/** What a first configuration says, as few words as there can be. */
export function firstConfig(
  node: NewNode,
  logServers: NodeConfigInput['logServers'],
): NodeConfigInput {
  const { name, dataDirectory, hosts, httpPort, nats } = node;
  const isLocal = hosts.every((host) => /^(127\..*|::1|localhost)$/.test(host));
  const http = { host: isLocal ? hosts[0]! : '0.0.0.0', port: httpPort };
  return { name, dataDirectory, http, ...(nats ? { nats } : { logServers }) };
}

/**
 * Runs `work` in an empty data directory that no node uses. What an interrupted run of the same kind left is there.
 * Throws NodeError: what is there, and what to do about it.
 */
export async function inNewDataFolder<T>(
  { dataDirectory }: NodeConfig,
  { kind, hosts }: { kind: Kind; hosts: readonly string[] },
  work: () => Promise<T>,
): Promise<T> {
  await refuseLoopbackName(hosts[0]!);
  makeDataFolder(dataDirectory);
  const lock = await lockFolder({ folder: dataDirectory, kind: 'supervisor' });
  try {
    assertNew(dataDirectory, kind);
    return await work();
  } finally {
    lock.release();
  }
}

/** Debian gives a machine's own name to 127.0.1.1: a log server that listens there is reached by nobody else. */
async function refuseLoopbackName(host: string): Promise<void> {
  if (isIP(host) > 0 || host === 'localhost') return;
  const found = await lookup(host).catch(() => null);
  if (!found || !isLoopback(found.address)) return;
  throw new NodeError(
    `${host} is ${found.address} on this machine, where no other machine reaches it: ` +
      'give its address as the first --host, or correct /etc/hosts',
  );
}

function assertNew(dataDirectory: string, kind: Kind): void {
  const identity = readIdentity(identityFolderOf(dataDirectory));
  if (identity) {
    const command = roleOf(identity) === 'witness' ? 'witness' : 'node';
    throw new NodeError(
      `${dataDirectory} is ${identity.nodeName} of the cluster ${identity.clusterId} already: ` +
        `start it with countersign ${command}`,
    );
  }
  const other = kind === 'founding' ? 'joining' : 'founding';
  if (existsSync(draftFolderOf(dataDirectory, other))) refuseHalfDone(dataDirectory);
  const data = readdirSync(dataDirectory).find((entry) =>
    ['postgres', 'nats', 'agent', 'run.json'].includes(entry),
  );
  if (data !== undefined) {
    throw new NodeError(
      `${dataDirectory} holds the data of a node already (${data}): choose an empty directory`,
    );
  }
}

/** From here on the identity counts. */
export function finishIdentity(dataDirectory: string, kind: Kind): void {
  const draft = draftFolderOf(dataDirectory, kind);
  readIdentity(draft);
  renameSync(draft, identityFolderOf(dataDirectory));
  syncPath(dataDirectory);
}
