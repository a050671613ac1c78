import { createRequire } from 'node:module';

/**
 * drizzle-orm, loaded as CommonJS. Its package.json has thousands of exports, and the ES module loader reads them
 * again for every one of its files: 0.6 s and 200 MB in every process, against 0.1 s and 26 MB this way.
 */
const require = createRequire(import.meta.url);
const root = require('drizzle-orm') as typeof import('drizzle-orm');
const pgCore = require('drizzle-orm/pg-core') as typeof import('drizzle-orm/pg-core');
const postgresJs = require('drizzle-orm/postgres-js') as typeof import('drizzle-orm/postgres-js');

export const { and, asc, count, desc, eq, getTableColumns, getTableName, gt, inArray, is, sql } =
  root;
export const {
  bigint,
  boolean,
  customType,
  date,
  integer,
  jsonb,
  PgTable,
  pgTable,
  primaryKey,
  text,
  timestamp,
  uuid,
} = pgCore;
export const { drizzle } = postgresJs;
