import { startPostgresContainer } from './start-postgres-container.ts';
import {
  formatPostgresUrl,
  startThrowAwayPostgres,
  testPostgresVariable,
} from './start-test-postgres.ts';
import { usesContainers } from './uses-containers.ts';

/** vitest's global set-up: one PostgreSQL for every test file of the run, unless one is given. */
export default async function startRunPostgres(): Promise<(() => Promise<void>) | undefined> {
  if (process.env[testPostgresVariable]) return undefined;
  const server = await (usesContainers() ? startPostgresContainer() : startThrowAwayPostgres());
  process.env[testPostgresVariable] = formatPostgresUrl(server.connection);
  return async () => {
    delete process.env[testPostgresVariable];
    await server.stop();
  };
}
