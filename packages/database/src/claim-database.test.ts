import { describe, expect, it } from 'vitest';
import { claimDatabase, untilAnswering } from './claim-database.ts';
import { migrate } from './migrate.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';

const postgres = useTestPostgres();
const claim = { node: 'node-1', clusterId: null, connections: 10 };

describe("a database of the operator's own", () => {
  it('belongs to the node that used it first, and is refused to any other by name', async () => {
    const db = postgres.open(await postgres.emptyDatabase());
    await claimDatabase(db, claim);
    await migrate(db);
    await claimDatabase(db, claim);
    await expect(claimDatabase(db, { ...claim, node: 'node-2' })).rejects.toThrow(
      'belongs to the node node-1, and this is node-2: each node needs a database of its own',
    );
  });

  it('is refused to a node of the same name in another cluster, and to one without identity', async () => {
    const db = postgres.open(await postgres.emptyDatabase());
    await claimDatabase(db, claim);
    const first = { ...claim, clusterId: 'abc' };
    await claimDatabase(db, first);
    await claimDatabase(db, first);
    await expect(claimDatabase(db, { ...claim, clusterId: 'xyz' })).rejects.toThrow(
      'belongs to the node node-1 of the cluster abc, and this is node-1 of the cluster xyz',
    );
    await expect(claimDatabase(db, claim)).rejects.toThrow(
      'of the cluster abc, and this is node-1:',
    );
  });

  it('has one owner although two nodes start with it at the same moment', async () => {
    const name = await postgres.emptyDatabase();
    const [one, two] = [postgres.open(name), postgres.open(name)];
    const claims = await Promise.allSettled([
      claimDatabase(one, claim),
      claimDatabase(two, { ...claim, node: 'node-2' }),
    ]);
    expect(claims.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  it('is refused while it holds the tables of something else', async () => {
    const db = postgres.open(await postgres.emptyDatabase());
    await db.sql`create table invoices (number int)`;
    await expect(claimDatabase(db, claim)).rejects.toThrow("tables that are not Countersign's");
  });

  it('is taken back where it lost its mark, as a copy from a dump does', async () => {
    const db = postgres.open(await postgres.emptyDatabase());
    await migrate(db);
    await claimDatabase(db, claim);
    await expect(claimDatabase(db, { ...claim, node: 'node-2' })).rejects.toThrow('node-1');
  });

  it('is refused on a server that cannot take the connections of a node', async () => {
    const db = postgres.open(await postgres.emptyDatabase());
    await expect(claimDatabase(db, { ...claim, connections: 100_000 })).rejects.toThrow(
      /max_connections = \d+: set 100000 or more/,
    );
  });

  it('is waited for while its server is not there, and refused at once where waiting is no use', async () => {
    // The port of nobody: nothing may listen at 1 without being root's.
    const nobody = { host: '127.0.0.1', port: 1 };
    const away = postgres.open(await postgres.emptyDatabase(), nobody);
    const startedAt = performance.now();
    await expect(untilAnswering(away, { timeoutMs: 500 })).rejects.toThrow(
      'the database of database.url does not answer: ',
    );
    expect(performance.now() - startedAt).toBeGreaterThan(500);
    const missing = postgres.open('no_such_database');
    await expect(untilAnswering(missing, { timeoutMs: 60_000 })).rejects.toThrow(
      'database "no_such_database" does not exist',
    );
    await untilAnswering(postgres.open(await postgres.emptyDatabase()), { timeoutMs: 0 });
  });
});
