import type {
  AdministratorDocument,
  ApiKeyDocument,
  ApplicationDocument,
  Claim,
  DirectoryDocument,
  DirectorySyncDocument,
  NodeDocument,
  RadiusClientDocument,
  RadiusTargetDocument,
  SettingsDocument,
  StopFact,
  UserDocument,
  UserState,
} from '@countersign/verification';
import {
  bigint,
  boolean,
  customType,
  date,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
  uuid,
} from './drizzle.ts';
import type { Incarnation } from './read-applied.ts';

/** The tables as the migrations leave them; the comments stand there. */

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });
const revisionColumn = (name: string) => bigint(name, { mode: 'number' }).notNull();
const time = (name: string) => timestamp(name, { withTimezone: true });

export const documents = pgTable(
  'documents',
  {
    kind: text('kind').notNull(),
    id: text('id').notNull(),
    revision: revisionColumn('revision'),
    epoch: revisionColumn('epoch'),
    removed: boolean('removed').notNull(),
    bytes: bytea('bytes').notNull(),
    hash: bytea('hash').notNull(),
  },
  (table) => [primaryKey({ columns: [table.kind, table.id] })],
);

export const users = pgTable('users', {
  id: uuid('id').primaryKey(),
  usernameKey: text('username_key').notNull(),
  document: jsonb('document').$type<UserDocument>().notNull(),
  revision: revisionColumn('revision'),
});

export const userNames = pgTable(
  'user_names',
  {
    userId: uuid('user_id').notNull(),
    key: text('key').notNull(),
    isMail: boolean('is_mail').notNull(),
  },
  (table) => [primaryKey({ columns: [table.userId, table.key] })],
);

export const removedUsers = pgTable('removed_users', {
  id: uuid('id').primaryKey(),
  document: jsonb('document').$type<UserDocument>().notNull(),
  revision: revisionColumn('revision'),
});

export const settingsGroups = pgTable('settings_groups', {
  id: text('id').primaryKey(),
  document: jsonb('document').$type<SettingsDocument>().notNull(),
  revision: revisionColumn('revision'),
});

export const applications = pgTable('applications', {
  id: uuid('id').primaryKey(),
  document: jsonb('document').$type<ApplicationDocument>().notNull(),
  revision: revisionColumn('revision'),
});

export const apiKeys = pgTable('api_keys', {
  id: uuid('id').primaryKey(),
  secretHash: text('secret_hash').notNull(),
  document: jsonb('document').$type<ApiKeyDocument>().notNull(),
  revision: revisionColumn('revision'),
});

export const administrators = pgTable('administrators', {
  id: uuid('id').primaryKey(),
  document: jsonb('document').$type<AdministratorDocument>().notNull(),
  revision: revisionColumn('revision'),
});

export const nodes = pgTable('nodes', {
  id: text('id').primaryKey(),
  document: jsonb('document').$type<NodeDocument>().notNull(),
  revision: revisionColumn('revision'),
});

export const directories = pgTable('directories', {
  id: uuid('id').primaryKey(),
  document: jsonb('document').$type<DirectoryDocument>().notNull(),
  revision: revisionColumn('revision'),
});

export const directorySyncs = pgTable('directory_syncs', {
  id: uuid('id').primaryKey(),
  document: jsonb('document').$type<DirectorySyncDocument>().notNull(),
  revision: revisionColumn('revision'),
});

export const radiusClients = pgTable('radius_clients', {
  id: uuid('id').primaryKey(),
  document: jsonb('document').$type<RadiusClientDocument>().notNull(),
  revision: revisionColumn('revision'),
});

export const radiusTargets = pgTable('radius_targets', {
  id: uuid('id').primaryKey(),
  document: jsonb('document').$type<RadiusTargetDocument>().notNull(),
  revision: revisionColumn('revision'),
});

export const parkedEntries = pgTable('parked_entries', {
  id: uuid('id').primaryKey(),
  sealed: bytea('sealed').notNull(),
  expiresAt: time('expires_at').notNull(),
});

export const epochs = pgTable('epochs', {
  epoch: bigint('epoch', { mode: 'number' }).primaryKey(),
  firstRevision: revisionColumn('first_revision'),
});

export const commandResults = pgTable('command_results', {
  commandId: uuid('command_id').primaryKey(),
  contentHash: text('content_hash').notNull(),
  kind: text('kind').notNull(),
  id: text('id').notNull(),
  result: jsonb('result').$type<Record<string, unknown>>().notNull(),
  revision: revisionColumn('revision'),
  at: time('at').notNull(),
});

export const applied = pgTable('applied', {
  onlyRow: boolean('only_row').primaryKey().default(true),
  incarnation: jsonb('incarnation').$type<Incarnation>().notNull(),
  epoch: revisionColumn('epoch'),
  revision: revisionColumn('revision'),
  digest: bytea('digest').notNull(),
  horizon: revisionColumn('horizon'),
  settingsRevision: revisionColumn('settings_revision'),
  changeFormat: integer('change_format').notNull(),
  isFilled: boolean('is_filled').notNull(),
  appliedAt: time('applied_at').notNull(),
});

export const logLayout = pgTable('log_layout', {
  onlyRow: boolean('only_row').primaryKey().default(true),
  layout: jsonb('layout').notNull(),
});

export const userStates = pgTable('user_states', {
  userId: uuid('user_id').primaryKey(),
  revision: revisionColumn('revision'),
  state: jsonb('state').$type<UserState>(),
});

export const positions = pgTable('positions', {
  name: text('name').primaryKey(),
  position: revisionColumn('position'),
});

export const events = pgTable(
  'events',
  {
    id: uuid('id').notNull(),
    day: date('day').notNull(),
    at: time('at').notNull(),
    type: text('type').notNull(),
    node: text('node').notNull(),
    userId: uuid('user_id'),
    username: text('username'),
    usernameKey: text('username_key'),
    actor: text('actor'),
    application: text('application'),
    clientAddress: text('client_address'),
    result: text('result'),
    reason: text('reason'),
    degraded: boolean('degraded').notNull(),
    durationMs: integer('duration_ms'),
    details: jsonb('details').$type<Record<string, unknown>>().notNull(),
    incarnation: integer('incarnation').notNull().default(0),
    arrival: revisionColumn('arrival').default(0),
  },
  (table) => [primaryKey({ columns: [table.day, table.id] })],
);

export const examination = pgTable('examination', {
  onlyRow: boolean('only_row').primaryKey().default(true),
  at: time('at').notNull(),
  incarnationId: text('incarnation_id').notNull(),
  revision: revisionColumn('revision'),
  problem: text('problem'),
});

export const outbox = pgTable('outbox', {
  id: uuid('id').primaryKey(),
  at: time('at').notNull(),
  final: boolean('final').notNull(),
  usernameKey: text('username_key'),
  event: jsonb('event').notNull(),
});

export const reservations = pgTable(
  'reservations',
  {
    userId: uuid('user_id').notNull(),
    item: text('item').notNull(),
    attemptId: text('attempt_id').notNull(),
    holder: text('holder').notNull(),
    phase: text('phase', { enum: ['asking', 'cas', 'approved'] }).notNull(),
    degraded: boolean('degraded').notNull(),
    claim: jsonb('claim').$type<Claim>(),
    merged: boolean('merged').notNull().default(false),
    createdAt: time('created_at').notNull().defaultNow(),
  },
  (table) => [primaryKey({ columns: [table.userId, table.item] })],
);

export const stopFacts = pgTable('stop_facts', {
  id: uuid('id').primaryKey(),
  kind: text('kind').notNull(),
  subject: text('subject').notNull(),
  node: text('node').notNull(),
  at: time('at').notNull(),
  expiresAt: time('expires_at'),
  fact: jsonb('fact').$type<StopFact>().notNull(),
  published: boolean('published').notNull().default(false),
  settled: boolean('settled').notNull().default(false),
});

export const erasures = pgTable('erasures', {
  userId: uuid('user_id').primaryKey(),
  since: time('since').notNull().defaultNow(),
});

export const circuit = pgTable('circuit', {
  onlyRow: boolean('only_row').primaryKey().default(true),
  open: boolean('open').notNull(),
  since: time('since').notNull(),
  reason: text('reason').notNull(),
  heldUntil: time('held_until'),
});
