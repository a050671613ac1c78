import { randomBytes } from 'node:crypto';

import type { TestConnection } from './start-test-postgres.ts';

/** Image of the PostgreSQL that operators most likely run themselves. */
const image = 'postgres:17';

/** PostgreSQL in a container, on a free loopback port; its data is not safe on disk. */
export async function startPostgresContainer(): Promise<{
  connection: TestConnection;
  stop(): Promise<void>;
}> {
  // Loaded only here: nothing but the container tests needs it.
  const { GenericContainer, Wait } = await import('testcontainers');
  const password = randomBytes(16).toString('hex');
  const settings = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off'];
  settings.push('max_connections=200', 'max_locks_per_transaction=512');
  const container = await new GenericContainer(image)
    .withEnvironment({ POSTGRES_USER: 'test', POSTGRES_PASSWORD: password, POSTGRES_DB: 'test' })
    .withCommand(['postgres', ...settings.flatMap((setting) => ['-c', setting])])
    .withTmpFs({ '/var/lib/postgresql/data': 'rw' })
    .withExposedPorts(5432)
    // The first time is its own set-up.
    .withWaitStrategy(Wait.forLogMessage(/database system is ready to accept connections/, 2))
    .withStartupTimeout(60_000)
    .start();
  return {
    connection: {
      host: container.getHost(),
      port: container.getMappedPort(5432),
      user: 'test',
      database: 'test',
      password,
    },
    stop: async () => void (await container.stop({ removeVolumes: true })),
  };
}
