import { setTimeout as delay } from 'node:timers/promises';
import type { Database, Transaction } from './open-database.ts';

/** A database that this node must not, or cannot, use; the message is a line an operator can act on. */
export class DatabaseRefusedError extends Error {
  override readonly name = 'DatabaseRefusedError';
}

/** The versions that tests run against; what is older was never tried. */
export const OLDEST_POSTGRES_MAJOR = 17;
const LOCKS_PER_TRANSACTION = 512;
const PAUSE_MS = 200;
/** Not there yet, not known to the resolver yet, starting (57P03), no connection to spare (53300). */
const MAY_PASS = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'ENOTFOUND'],
  ...[
    'EAI_AGAIN',
    'CONNECT_TIMEOUT',
    'CONNECTION_CLOSED',
    'CONNECTION_DESTROYED',
    '57P03',
    '53300',
  ],
]);

/**
 * Makes a database of the operator's own this node's, for good: a comment on the database names the owner. Safe to
 * call at every start. `clusterId` is null on a node without an identity; one that got it since adds it to the mark.
 * @throws DatabaseRefusedError when another node's name is on it, something else's tables are in it, or its server
 *   cannot carry a node with that many connections
 */
export async function claimDatabase(
  db: Database,
  about: { node: string; clusterId: string | null; connections: number },
): Promise<void> {
  const { node, clusterId, connections } = about;
  await db.transaction(async (tx) => {
    await tx`select pg_advisory_xact_lock(hashtextextended('countersign claim', 0))`;
    await checkServer(tx, connections);
    const [found] = await tx<{ name: string; mark: string | null; isOwner: boolean }[]>`
      select datname as name, shobj_description(oid, 'pg_database') as mark,
        pg_has_role(datdba, 'usage') as "isOwner"
      from pg_database where datname = current_database()`;
    const { name, mark, isOwner } = found!;
    const own = markOf(node, clusterId);
    if (mark === own) return;
    const [, owner, cluster] = /^Countersign (\S+?)(?: of (\S+))?$/.exec(mark ?? '') ?? [];
    if (owner && (owner !== node || cluster)) {
      const ours = clusterId ? `${node} of the cluster ${clusterId}` : node;
      throw refused(
        `the database ${name} belongs to the node ${owner}${cluster ? ` of the cluster ${cluster}` : ''}, ` +
          `and this is ${ours}: each node needs a database of its own`,
      );
    }
    if (await holdsOthersTables(tx)) {
      throw refused(
        `the database ${name} holds tables that are not Countersign's: give it an empty one`,
      );
    }
    if (!isOwner) throw refused(`the user of database.url must own the database ${name}`);
    await tx.unsafe(`comment on database ${quoteName(name)} is '${own}'`);
  });
}

/**
 * Waits for a server that is not reached yet, or is just starting.
 * @throws DatabaseRefusedError with the last reason after the time, or at once where waiting is no use, as with a wrong
 *   password or certificate
 */
export async function untilAnswering(
  db: Database,
  { timeoutMs }: { timeoutMs: number },
): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    try {
      await db.sql`select 1`;
      return;
    } catch (cause) {
      const { code = '', message } = cause as { code?: string; message: string };
      if (!MAY_PASS.has(code) || performance.now() > giveUpAt) {
        throw new DatabaseRefusedError(`the database of database.url does not answer: ${message}`, {
          cause,
        });
      }
      await delay(PAUSE_MS);
    }
  }
}

async function checkServer(tx: Transaction, connections: number): Promise<void> {
  const [server] = await tx<{ version: number; connections: number; locks: number }[]>`
    select current_setting('server_version_num')::int as version,
      current_setting('max_connections')::int as connections,
      current_setting('max_locks_per_transaction')::int as locks`;
  const { version, connections: most, locks } = server!;
  const major = Math.floor(version / 10_000);
  if (major < OLDEST_POSTGRES_MAJOR) {
    throw refused(`PostgreSQL ${major} is too old: ${OLDEST_POSTGRES_MAJOR} or newer is needed`);
  }
  if (most < connections) {
    throw refused(`PostgreSQL has max_connections = ${most}: set ${connections} or more`);
  }
  if (locks < LOCKS_PER_TRANSACTION) {
    throw refused(
      `PostgreSQL has max_locks_per_transaction = ${locks}: set ${LOCKS_PER_TRANSACTION} or more`,
    );
  }
}

/** A copy that came back without its mark has our tables: that is no other's. */
async function holdsOthersTables(tx: Transaction): Promise<boolean> {
  const [found] = await tx<{ tables: number; isOurs: boolean }[]>`
    select count(*)::int as tables,
      coalesce(bool_or(tablename = 'applied'), false)
        and coalesce(bool_or(tablename = 'schema_migrations'), false) as "isOurs"
    from pg_tables where schemaname = 'public'`;
  return found!.tables > 0 && !found!.isOurs;
}

// Neither a node's name (NODE_NAME) nor a cluster's id has quotes.
function markOf(node: string, clusterId: string | null): string {
  return clusterId === null ? `Countersign ${node}` : `Countersign ${node} of ${clusterId}`;
}

function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function refused(message: string): DatabaseRefusedError {
  return new DatabaseRefusedError(message);
}
