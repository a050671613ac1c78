import { defineConfig } from 'vitest/config';

const startsPostgres = './packages/testing/src/start-run-postgres.ts';

export default defineConfig({
  test: {
    pool: 'forks',
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['packages/**/*.test.ts', 'scripts/*.test.mjs'],
          globalSetup: [startsPostgres],
          // Most of them wait more than they compute.
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'cluster',
          include: ['test/*.test.ts', 'test/history/**/*.test.ts'],
          // Whole clusters want the machine for themselves.
          fileParallelism: false,
          testTimeout: 240_000,
          hookTimeout: 240_000,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          // More of the same, so that `npm test` ends within 15 minutes; CI runs both.
          name: 'longer',
          include: ['test/longer/*.test.ts'],
          fileParallelism: false,
          testTimeout: 240_000,
          hookTimeout: 240_000,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          // What needs a container engine: the image, and the cluster of docker-compose.yml.
          name: 'containers',
          include: ['test/containers/*.test.ts'],
          fileParallelism: false,
          testTimeout: 240_000,
          hookTimeout: 240_000,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          // Against the servers that operators run themselves, the tests that lean on them most.
          name: 'engines-in-containers',
          include: [
            'packages/cluster/src/{cluster,lease,stop-facts}.test.ts',
            'packages/database/src/{apply-changes,events,migrate,next-tables}.test.ts',
            'packages/database/src/{node-locks,open-database,reservations,users}.test.ts',
            'packages/testing/src/start-test-{nats,postgres}.test.ts',
          ],
          globalSetup: [startsPostgres],
          maxWorkers: 2,
          testTimeout: 40_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          // What takes too long for every change: run before a release, or by name.
          name: 'faults',
          include: ['test/faults/*.test.ts'],
          fileParallelism: false,
          testTimeout: 240_000,
          hookTimeout: 240_000,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
