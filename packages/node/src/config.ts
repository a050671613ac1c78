import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { dirname, join, resolve } from 'node:path';

import { NODE_NAME } from '@countersign/cluster';
import { writePrivateFile } from '@countersign/private-files';
import { flawOfCiphers, INTERMEDIATE, MODERN, TLS_VERSIONS, type TlsTerms } from '@countersign/tls';
import { stringify } from 'yaml';
import { z } from 'zod';

import { flawOfDatabaseUrl } from './database-url.ts';
import { flawOfNatsUrls, natsAddresses } from './nats-urls.ts';
import { NodeError } from './node-error.ts';
import { parseYaml } from './parse-yaml.ts';

const mebibyte = 1024 * 1024;

const nodeName = z.string().regex(NODE_NAME, 'must be 1-63 letters a-z, digits and inner hyphens');
const port = z.int().min(1).max(65_535);
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
const backupPlan = z.strictObject({
  directory: z.string().min(1),
  recipient: z
    .string()
    .regex(/^age1[0-9a-z]{50,4000}$/, 'must be a public key of age (age1…, of "age-keygen")'),
  everyHours: z
    .int()
    .min(1)
    .max(24 * 31)
    .default(24),
  keep: z.int().min(1).max(1000).default(14),
  events: z.boolean().default(false),
});
const streamBytes = z.int().min(16 * mebibyte);

const tls = z
  .strictObject({
    policy: z.enum(['modern', 'intermediate', 'custom']).default('intermediate'),
    minVersion: z.enum(TLS_VERSIONS, 'must be TLSv1.2 or TLSv1.3').optional(),
    ciphers: z.array(z.string().max(100)).min(1).max(50).optional(),
  })
  .transform((given, context): TlsTerms => {
    const { policy, minVersion, ciphers } = given;
    const refuse = (message: string) => context.addIssue({ code: 'custom', message });
    if (policy !== 'custom') {
      if (minVersion || ciphers) refuse('minVersion and ciphers count only with policy "custom"');
      return policy === 'modern' ? MODERN : INTERMEDIATE;
    }
    if (!ciphers) refuse('policy "custom" takes ciphers');
    const terms = { minVersion: minVersion ?? 'TLSv1.2', ciphers: ciphers ?? [] };
    const flaw = ciphers && flawOfCiphers(terms);
    if (flaw) refuse(flaw);
    return terms;
  });

const database = z
  .strictObject({
    url: z.url({ protocol: /^postgres(ql)?$/ }),
    passwordFile: z.string().min(1).optional(),
    authorityFile: z.string().min(1).optional(),
  })
  .superRefine(({ url, passwordFile, authorityFile }, context) => {
    const flaw = flawOfDatabaseUrl(url, { passwordFile, authorityFile });
    if (flaw) context.addIssue({ code: 'custom', path: ['url'], message: flaw });
  });

const nats = z
  .strictObject({
    urls: z
      .array(z.url({ protocol: /^(nats|tls)$/, message: 'not nats:// or tls://' }))
      .min(1)
      .max(9),
    authorityFile: z.string().min(1).optional(),
    certificateFile: z.string().min(1).optional(),
    keyFile: z.string().min(1).optional(),
    user: z.string().min(1).max(100).optional(),
    passwordFile: z.string().min(1).optional(),
  })
  .superRefine((given, context) => {
    const flaw = flawOfNatsUrls(given);
    if (flaw) context.addIssue({ code: 'custom', path: ['urls'], message: flaw });
  });

// An address, or a name that every node resolves.
const hostName = /^(?=.*[a-z])[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const logServerHost = z
  .string()
  .refine((host) => isIP(host) > 0 || hostName.test(host), 'not an address or host name');
const logServer = z.strictObject({
  name: nodeName,
  host: logServerHost,
  clientPort: port,
  routePort: port,
});

/** The node's configuration file. Every key stands in deploy/countersign.yaml. */
export const nodeConfigSchema = z
  .strictObject({
    name: nodeName,
    dataDirectory: z.string().min(1),
    clusterKeyFile: z.string().min(1).optional(),
    keys: z.strictObject({ kekFile: z.string().min(1).optional() }).prefault({}),
    found: z.boolean().default(false),
    database: database.nullable().default(null),
    nats: nats.nullable().default(null),
    http: z
      .strictObject({
        host: address.default('127.0.0.1'),
        port: port.default(8080),
        tls: z
          .strictObject({ certificateFile: z.string().min(1), keyFile: z.string().min(1) })
          .nullable()
          .default(null),
        trustedProxies: z
          .array(z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], 'not an address or network'))
          .max(100)
          .default([]),
        monitoringFrom: z
          .array(z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], 'not an address or network'))
          .max(100)
          .default(['127.0.0.0/8', '::1/128']),
      })
      .prefault({}),
    tls: tls.prefault({}),
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
    backup: backupPlan.nullable().default(null),
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
  .superRefine(({ nats: operators, logServers }, context) => {
    if (!operators || !logServers) return;
    const message = 'counts only where the nodes run the log servers: there is nats.urls';
    context.addIssue({ code: 'custom', path: ['logServers'], message });
  })
  .transform((config) => ({
    ...config,
    url: config.url ?? null,
    logServers: config.nats
      ? natsAddresses(config.nats.urls)
      : (config.logServers ?? [usualServer(config.name, '127.0.0.1')]),
  }))
  .superRefine(checkLogServers);

/** What may stand in the file. */
export type NodeConfigInput = z.input<typeof nodeConfigSchema>;

/** A checked configuration; paths are absolute. */
export type NodeConfig = z.output<typeof nodeConfigSchema> & {
  clusterKeyFile: string;
  /** Where it was read, and what stood there. */
  file: { path: string; sha256: string };
};

export type LogServer = z.output<typeof logServer>;

/**
 * Checks the text of a configuration file: YAML. Relative paths count from the file's folder.
 * Throws NodeError naming the file and the key.
 */
export function parseNodeConfig(text: string, file: string): NodeConfig {
  const result = nodeConfigSchema.safeParse(readYaml(text, file));
  if (!result.success) {
    const problems = result.error.issues.slice(0, 3).map(describeIssue).join('; ');
    throw new NodeError(`${file}: ${problems}`);
  }
  const folder = dirname(resolve(file));
  const dataDirectory = resolve(folder, result.data.dataDirectory);
  const clusterKeyFile = result.data.clusterKeyFile
    ? resolve(folder, result.data.clusterKeyFile)
    : join(dataDirectory, 'cluster.key');
  const { kekFile } = result.data.keys;
  const keys = kekFile === undefined ? {} : { kekFile: resolve(folder, kekFile) };
  const { http, database: own } = result.data;
  const absolute = (path: string) => resolve(folder, path);
  const ownTls = http.tls && {
    certificateFile: resolve(folder, http.tls.certificateFile),
    keyFile: resolve(folder, http.tls.keyFile),
  };
  const ownDatabase = own && {
    url: own.url,
    passwordFile: own.passwordFile && absolute(own.passwordFile),
    authorityFile: own.authorityFile && absolute(own.authorityFile),
  };
  const { nats: operators } = result.data;
  const ownNats = operators && {
    ...operators,
    authorityFile: operators.authorityFile && absolute(operators.authorityFile),
    certificateFile: operators.certificateFile && absolute(operators.certificateFile),
    keyFile: operators.keyFile && absolute(operators.keyFile),
    passwordFile: operators.passwordFile && absolute(operators.passwordFile),
  };
  const sha256 = createHash('sha256').update(text).digest('hex');
  const plan = result.data.backup;
  return {
    ...result.data,
    dataDirectory,
    clusterKeyFile,
    keys,
    database: ownDatabase,
    nats: ownNats,
    http: { ...http, tls: ownTls },
    file: { path: resolve(file), sha256 },
    backup: plan && { ...plan, directory: absolute(plan.directory) },
  };
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
  const config = parseNodeConfig(text, file);
  const hasPassword = config.database && new URL(config.database.url).password !== '';
  if (hasPassword && (statSync(file).mode & 0o077) !== 0) {
    throw new NodeError(
      `${file} holds the password of database.url: chmod 600 it, or use database.passwordFile`,
    );
  }
  return config;
}

/** Checks a configuration and writes it, readable by its owner only. */
export function writeNodeConfig(file: string, config: NodeConfigInput): void {
  const text = `# deploy/countersign.yaml explains every key.\n${stringify(config)}`;
  parseNodeConfig(text, file);
  writePrivateFile(file, text);
}

/** The log server this node runs itself, if it runs one. */
export function ownLogServer(
  config: Pick<NodeConfig, 'name' | 'logServers'> & { nats?: NodeConfig['nats'] },
): LogServer | undefined {
  if (config.nats) return undefined;
  return config.logServers.find(({ name }) => name === config.name);
}

/** The log servers with this node's own first: clients try them in this order. */
export function logServersByDistance(config: NodeConfig): LogServer[] {
  return config.logServers.toSorted(
    (a, b) => Number(b.name === config.name) - Number(a.name === config.name),
  );
}

/** A log server at the ports that NATS usually has. */
export function usualServer(name: string, host: string): LogServer {
  return { name, host, clientPort: 4222, routePort: 6222 };
}

function checkLogServers(
  config: {
    name: string;
    nats: object | null;
    http: { host: string; port: number };
    logServers: LogServer[];
  },
  context: z.RefinementCtx,
): void {
  const { logServers } = config;
  if (config.nats) return;
  const refuse = (message: string) =>
    context.addIssue({ code: 'custom', path: ['logServers'], message });
  if (logServers.length < 1 || logServers.length > 5) refuse('must be 1 to 5 servers');
  if (new Set(logServers.map(({ name }) => name)).size < logServers.length) {
    refuse('names a server twice');
  }
  const own = logServers.find(({ name }) => name === config.name);
  if (!own) return;
  const ports = [own.clientPort, own.routePort];
  if ([own.host, '0.0.0.0', '::'].includes(config.http.host)) ports.push(config.http.port);
  if (new Set(ports).size < ports.length) refuse(`gives ${own.name} one port for two purposes`);
}

function readYaml(text: string, file: string): unknown {
  try {
    return parseYaml(text);
  } catch (error) {
    throw new NodeError(`${file} is not YAML: ${(error as Error).message}`);
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
