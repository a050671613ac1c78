import { chownSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestCluster } from '@countersign/identity/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openDatabase } from './open-database.ts';
import { startTestPostgres, type TestPostgres } from './testing/start-postgres.ts';

// Its port is the usual one, so the address is not.
const HOST = `127.83.${process.pid & 255}.${(process.pid >> 8) & 255}`;

let folder: string;
let server: TestPostgres;
let authority: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cs-tls-'));
  const own = { name: 'postgres', folder: join(folder, 'own'), hosts: [HOST] };
  authority = (await createTestCluster([own])).authority.certificatePem;
  server = await startTestPostgres('own', (directory, uid) => {
    for (const name of ['node.pem', 'node.key']) {
      copyFileSync(join(own.folder, name), join(directory, name));
      chownSync(join(directory, name), uid, -1);
    }
    return [
      `listen_addresses=${HOST}`,
      'ssl=on',
      `ssl_cert_file=${join(directory, 'node.pem')}`,
      `ssl_key_file=${join(directory, 'node.key')}`,
    ];
  });
}, 60_000);
afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function isEncrypted(by: string | undefined, host = HOST): Promise<boolean> {
  const about = { ...server.connection, host, max: 1, applicationName: 'test' };
  await using db = openDatabase({ ...about, ...(by !== undefined && { authority: by }) });
  const [row] = await db.sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`;
  return row!.ssl;
}

it('connects by TLS to a server that its authority vouches for', async () => {
  expect(await isEncrypted(authority)).toBe(true);
  expect(await isEncrypted(undefined)).toBe(false);
});

it('does not speak to a server of another authority, nor to one of another name', async () => {
  const foreign = join(folder, 'foreign');
  await createTestCluster([{ name: 'postgres', folder: foreign }]);
  const other = readFileSync(join(foreign, 'ca.pem'), 'utf8');
  await expect(isEncrypted(other)).rejects.toThrow(/certificate|self.signed/);
  await expect(isEncrypted(authority, 'localhost')).rejects.toThrow();
});
