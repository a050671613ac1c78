import { PresenceFilter } from 'ldapts';
import type { AccountBinding } from './account-binding.ts';
import { readTexts } from './bound-client.ts';
import type { Entry } from './bound-client.ts';
import { Connection } from './connection.ts';
import { DirectoryError } from './directory-error.ts';
import type { ServerAddress } from './open-socket.ts';
import { parseFilter } from './parse-filter.ts';
import { chooseChanges, readChanges } from './read-changes.ts';
import { readObject } from './read-person.ts';
import { readRoot } from './servers.ts';
import type { DirectoryConfig, DirectoryTest } from './types.ts';

/** More are not counted, and no longer than that. */
const COUNT_MAX = 10_000;
const COUNT_MS = 10_000;

type Fault = NonNullable<DirectoryTest['fault']>;
type Looked = {
  address: ServerAddress;
  connection: Connection | null;
  root: Entry | undefined;
  error: DirectoryError | null;
};

/**
 * Looks at every server, as if nothing had happened before, and then at what the account sees. An
 * account that one server refuses is not tried at the others: that could lock it.
 */
export async function testDirectory(
  config: DirectoryConfig,
  { addresses, account }: { addresses: ServerAddress[]; account: AccountBinding },
): Promise<DirectoryTest> {
  const looked = await Promise.all(addresses.map((address) => lookAt(address, config)));
  try {
    let refusal: DirectoryError | null = null;
    for (const one of looked) {
      if (!one.connection) continue;
      one.error = refusal
        ? new DirectoryError('credentials', 'answers; the account was not tried again')
        : await bindAndReadBase(one.connection, { config, account, root: one.root });
      if (one.error?.fault === 'credentials') refusal ??= one.error;
    }
    const usable = looked.find(({ connection, error }) => connection && !error);
    const seen = readSeen((usable ?? looked.find(({ root }) => root))?.root);
    const problem = usable?.connection
      ? await readContents(usable.connection, { config, seen })
      : (refusal ?? looked.find(({ error }) => error)?.error ?? null);
    const servers = looked.map(({ address, error }) => ({
      url: address.url,
      ok: error === null,
      line: error === null ? 'answers, and the account may read there' : shorten(error, address),
    }));
    const failed = servers.filter(({ ok }) => !ok).length;
    return {
      ok: problem === null,
      fault: problem ? toFault(problem) : null,
      line: problem ? problem.message : describe(seen, failed),
      servers,
      seen,
    };
  } finally {
    for (const { connection } of looked) connection?.close();
  }
}

async function lookAt(address: ServerAddress, config: DirectoryConfig): Promise<Looked> {
  let connection: Connection | null = null;
  try {
    connection = await Connection.open(address, config);
    const root = await readRoot(connection, ROOT_ATTRIBUTES);
    return { address, connection, root, error: null };
  } catch (error) {
    connection?.close();
    return { address, connection: null, root: undefined, error: toDirectoryError(error) };
  }
}

async function bindAndReadBase(
  connection: Connection,
  about: { config: DirectoryConfig; account: AccountBinding; root: Entry | undefined },
): Promise<DirectoryError | null> {
  const { baseDn } = about.config;
  try {
    await about.account.bind(connection);
    const filter = new PresenceFilter({ attribute: 'objectClass' });
    const query = { scope: 'base' as const, filter, attributes: ['1.1'] };
    const { entries } = await connection.search(baseDn, query);
    if (entries.length === 1) return null;
    return new DirectoryError('base_dn', `the base DN ${baseDn} is not there`);
  } catch (error) {
    const problem = toDirectoryError(error);
    if (problem.fault !== 'base_dn') return problem;
    const contexts = about.root ? readTexts(about.root, 'namingContexts').slice(0, 10) : [];
    const has = contexts.length > 0 ? `; the server has ${contexts.join(' and ')}` : '';
    const why = `the base DN ${baseDn} is not there, or not shown to this account${has}`;
    return new DirectoryError('base_dn', `${connection.server.url}: ${why}`, { cause: error });
  }
}

/** Fills in what is there; the error is why people cannot be read. */
async function readContents(
  connection: Connection,
  { config, seen }: { config: DirectoryConfig; seen: DirectoryTest['seen'] },
): Promise<DirectoryError | null> {
  try {
    const { filters, attributes } = config;
    const people = await count(connection, config, filters.user, attributes.uniqueId);
    seen.people = people.count;
    seen.groups = (await count(connection, config, filters.group)).count;
    seen.containers = (await count(connection, config, filters.container)).count;
    seen.changes = await findHowChangesAreFound(connection, config);
    if (!people.first) {
      const why = 'the user filter finds nobody there, or the account has no right to see them';
      return new DirectoryError('rights', `no people below ${config.baseDn}: ${why}`);
    }
    if (readObject(people.first, attributes) !== null) return null;
    const why = `${attributes.uniqueId} of ${people.first.dn.slice(0, 200)} is not there`;
    return new DirectoryError('rights', `${why}, or the account has no right to read it`);
  } catch (error) {
    return toDirectoryError(error);
  }
}

async function count(
  connection: Connection,
  { baseDn }: DirectoryConfig,
  filter: string,
  attribute = '1.1',
): Promise<{ count: number; first: Entry | undefined }> {
  const giveUpAt = performance.now() + COUNT_MS;
  let found = 0;
  let first: Entry | undefined;
  const query = { scope: 'sub' as const, filter: parseFilter(filter), attributes: [attribute] };
  for await (const { entries } of connection.searchPages(baseDn, query)) {
    first ??= entries[0];
    found += entries.length;
    if (found >= COUNT_MAX || performance.now() > giveUpAt) break;
  }
  return { count: found, first };
}

async function findHowChangesAreFound(
  connection: Connection,
  config: DirectoryConfig,
): Promise<string> {
  const kind = chooseChanges(config);
  if (kind === 'full') return 'everything is read each time';
  const words = kind === 'dirsync' ? 'DirSync' : 'timestamps, and a comparison for removals';
  const reading = {
    config,
    withConnection: <T>(work: (client: Connection) => T) => work(connection),
  };
  const changes = await readChanges(reading, null);
  return changes.kind === 'changes' ? words : `everything is read each time (${changes.why})`;
}

const ROOT_ATTRIBUTES = [
  ...['namingContexts', 'vendorName', 'vendorVersion', 'supportedCapabilities', 'objectClass'],
  'structuralObjectClass',
];
const ACTIVE_DIRECTORY_CAPABILITY = '1.2.840.113556.1.4.800';

function readSeen(root: Entry | undefined): DirectoryTest['seen'] {
  const contexts = root ? readTexts(root, 'namingContexts').slice(0, 20) : [];
  return {
    server: root ? nameServer(root) : null,
    namingContexts: contexts.map((one) => one.slice(0, 1024)),
    people: null,
    groups: null,
    containers: null,
    changes: null,
  };
}

function nameServer(root: Entry): string {
  const vendor = readTexts(root, 'vendorName')[0]?.slice(0, 100);
  if (readTexts(root, 'supportedCapabilities').includes(ACTIVE_DIRECTORY_CAPABILITY)) {
    return vendor?.startsWith('Samba') ? 'Active Directory (Samba)' : 'Active Directory';
  }
  const classes = ['objectClass', 'structuralObjectClass'].flatMap((name) => readTexts(root, name));
  if (classes.includes('OpenLDAProotDSE')) return 'OpenLDAP';
  return vendor ?? 'an LDAP server';
}

function describe(seen: DirectoryTest['seen'], failed: number): string {
  const of = (found: number | null, what: string) =>
    `${(found ?? 0) >= COUNT_MAX ? 'at least ' : ''}${found ?? 0} ${what}`;
  const counts = [
    of(seen.people, 'people'),
    of(seen.groups, 'groups'),
    of(seen.containers, 'containers'),
  ].join(', ');
  const others = failed > 0 ? `; ${failed} of its servers cannot be used` : '';
  return `${seen.server ?? 'the server'}: ${counts}; changes: ${seen.changes}${others}`;
}

function shorten({ message }: DirectoryError, { url }: ServerAddress): string {
  return message.startsWith(`${url}: `) ? message.slice(url.length + 2) : message;
}

function toFault({ fault }: DirectoryError): Fault {
  return fault === 'answer' ? 'rights' : fault;
}

function toDirectoryError(error: unknown): DirectoryError {
  if (error instanceof DirectoryError) return error;
  throw error;
}
