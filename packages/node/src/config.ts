import { readFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { dirname, join, resolve } from 'node:path';

import { NODE_NAME } from '@countersign/cluster';
import { z } from 'zod';

import { NodeError } from './node-error.ts';
import { stripJsonComments } from './strip-json-comments.ts';
import { writePrivateFile } from './write-private-file.ts';

const mebibyte = 1024 * 1024;

const nodeName = z.string().regex(NODE_NAME, 'must be 1-63 letters a-z, digits and inner hyphens');
const port = z.int().min(1).max(65_535);
// Nothing is encrypted on the wire yet, and passwords and codes would be among it.
const loopbackHost = z
  .string()
  .refine(isLoopback, 'must be a loopback address (127.x.x.x or ::1) as long as there is no TLS');
const address = z.union([z.ipv4(), z.ipv6()], 'not an address');
// Unlike all else it is made for networks: secrets protect it as far as RADIUS can, and clients are listed.
const radius = z
  .strictObject({
    host: z
      .union([address, z.array(address).min(1).max(20)])
      .transform((host) => [host].flat())
      .refine((hosts) => new Set(hosts).size === hosts.length, 'names an address twice'),
    authenticationPort: port.default(1812),
    accountingPort: port.default(1813),
  })
  .refine(({ authenticationPort, accountingPort }) => authenticationPort !== accountingPort, {
    path: ['accountingPort'],
    message: 'must not be the authentication port',
  });
const streamBytes = z.int().min(16 * mebibyte);

const logServer = z.strictObject({
  name: nodeName,
  host: loopbackHost,
  clientPort: port,
  routePort: port,
});

/** The node's configuration file. Every key stands in deploy/node.example.jsonc. */
export const nodeConfigSchema = z
  .strictObject({
    name: nodeName,
    dataDirectory: z.string().min(1),
    clusterKeyFile: z.string().min(1).optional(),
    found: z.boolean().default(false),
    http: z
      .strictObject({
        host: loopbackHost.default('127.0.0.1'),
        port: port.default(8080),
        trustedProxies: z
          .array(z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], 'not an address or network'))
          .max(100)
          .default([]),
      })
      .prefault({}),
    texts: z
      .strictObject({
        gateways: z
          .array(z.string().regex(/^[a-z0-9.:[\]-]{1,259}$/, 'not host or host:port'))
          .max(10)
          .default([]),
      })
      .prefault({}),
    radius: radius.nullable().default(null),
    workers: z.int().min(1).max(32).default(2),
    promotable: z.boolean().default(true),
    url: z.url({ protocol: /^https?$/ }).optional(),
    log: z
      .strictObject({
        level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
      })
      .prefault({}),
    logServers: z.array(logServer).optional(),
    limits: z
      .strictObject({
        changesBytes: streamBytes.default(2048 * mebibyte),
        statesBytes: streamBytes.default(1024 * mebibyte),
        eventsBytes: streamBytes.default(256 * mebibyte),
      })
      .refine((limits) => limits.eventsBytes <= limits.changesBytes, {
        path: ['eventsBytes'],
        message: 'must not be above changesBytes: events are what may be lost first',
      })
      .prefault({}),
  })
  .transform((config) => ({
    ...config,
    url: config.url ?? null,
    logServers: config.logServers ?? [loneServer(config.name)],
  }))
  .superRefine(checkLogServers);

/** What may stand in the file. */
export type NodeConfigInput = z.input<typeof nodeConfigSchema>;

/** A checked configuration; paths are absolute. */
export type NodeConfig = z.output<typeof nodeConfigSchema> & { clusterKeyFile: string };

export type LogServer = z.output<typeof logServer>;

/**
 * Checks the text of a configuration file: JSON, comments allowed. Relative paths count from the
 * file's folder. Throws NodeError naming the file and the key.
 */
export function parseNodeConfig(text: string, file: string): NodeConfig {
  const result = nodeConfigSchema.safeParse(parseJson(text, file));
  if (!result.success) {
    const problems = result.error.issues.slice(0, 3).map(describeIssue).join('; ');
    throw new NodeError(`${file}: ${problems}`);
  }
  const folder = dirname(resolve(file));
  const dataDirectory = resolve(folder, result.data.dataDirectory);
  const clusterKeyFile = result.data.clusterKeyFile
    ? resolve(folder, result.data.clusterKeyFile)
    : join(dataDirectory, 'cluster.key');
  return { ...result.data, dataDirectory, clusterKeyFile };
}

/** Throws NodeError when the file cannot be read or is wrong. */
export function readNodeConfig(file: string): NodeConfig {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new NodeError(`cannot read the configuration ${file} (${code})`, { cause });
  }
  return parseNodeConfig(text, file);
}

/** Checks a configuration and writes it, readable by its owner only. */
export function writeNodeConfig(file: string, config: NodeConfigInput): void {
  const text = `${JSON.stringify(config, null, 2)}\n`;
  parseNodeConfig(text, file);
  writePrivateFile(file, text);
}

/** The log server this node runs itself, if it runs one. */
export function ownLogServer(config: NodeConfig): LogServer | undefined {
  return config.logServers.find(({ name }) => name === config.name);
}

/** The log servers with this node's own first: clients try them in this order. */
export function logServersByDistance(config: NodeConfig): LogServer[] {
  return config.logServers.toSorted(
    (a, b) => Number(b.name === config.name) - Number(a.name === config.name),
  );
}

export function isLoopback(host: string): boolean {
  return host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

function loneServer(name: string): LogServer {
  return { name, host: '127.0.0.1', clientPort: 4222, routePort: 6222 };
}

function checkLogServers(
  config: { name: string; http: { host: string; port: number }; logServers: LogServer[] },
  context: z.RefinementCtx,
): void {
  const { logServers } = config;
  const refuse = (message: string) =>
    context.addIssue({ code: 'custom', path: ['logServers'], message });
  if (![1, 3, 5].includes(logServers.length)) {
    refuse(`must be 1, 3 or 5 servers: ${logServers.length} are no safer than one fewer`);
  }
  if (new Set(logServers.map(({ name }) => name)).size < logServers.length) {
    refuse('names a server twice');
  }
  const own = logServers.find(({ name }) => name === config.name);
  if (!own) return;
  const ports = [own.clientPort, own.routePort];
  if (own.host === config.http.host) ports.push(config.http.port);
  if (new Set(ports).size < ports.length) refuse(`gives ${own.name} one port for two purposes`);
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(stripJsonComments(text));
  } catch (cause) {
    // The parser quotes the text around the place, line breaks included.
    const why = (cause as Error).message.replace(/\s+/g, ' ');
    throw new NodeError(`${file} is not JSON: ${why}`, { cause });
  }
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const path = issue.path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('');
  if (issue.code === 'unrecognized_keys') {
    const names = issue.keys.map((key) => `${path}.${key}`.slice(1));
    return `${names.join(', ')}: no such key`;
  }
  return path ? `${path.slice(1)}: ${issue.message}` : issue.message;
}
