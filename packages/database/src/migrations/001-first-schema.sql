-- Replicated tables (documents and the read models filled from them) have no unique or foreign
-- key besides their own identity: a replica that catches up through a compacted log sees
-- documents in another order than they were made, and a constraint would stop it for good.

-- Every (kind, id) of the change log at its newest revision, tombstones included.
create table documents (
  kind text collate "C" not null,
  id text collate "C" not null,
  revision bigint not null,
  epoch bigint not null,
  removed boolean not null,
  -- The message as it was received: encrypted, so compressing it would be lost work.
  bytes bytea storage external not null,
  -- SHA-256 of kind, id, revision and bytes, each but the last followed by a zero byte.
  hash bytea not null,
  primary key (kind, id)
);

create table users (
  id uuid primary key,
  username_key text collate "C" not null,
  document jsonb not null,
  revision bigint not null
);
create index users_by_username_key on users (username_key);

create table settings_groups (
  id text collate "C" primary key,
  document jsonb not null,
  revision bigint not null
);

create table api_keys (
  id uuid primary key,
  secret_hash text collate "C" not null,
  document jsonb not null,
  revision bigint not null
);
create index api_keys_by_secret_hash on api_keys (secret_hash);

create table nodes (
  id text collate "C" primary key,
  document jsonb not null,
  revision bigint not null
);

-- Only epochs whose barrier is complete.
create table epochs (
  epoch bigint primary key,
  first_revision bigint not null
);

-- Results of the commands of the last 10 minutes, so that a repeat gets the first result.
create table command_results (
  command_id uuid primary key,
  content_hash text not null,
  kind text not null,
  id text not null,
  result jsonb not null,
  revision bigint not null,
  at timestamptz not null
);
create index command_results_by_time on command_results (at);

-- How far this replica is. Changes in the same transaction as what was applied.
create table applied (
  only_row boolean primary key default true check (only_row),
  incarnation_number integer not null,
  incarnation_id text not null,
  incarnation_parent text,
  base_revision bigint not null,
  epoch bigint not null,
  revision bigint not null,
  digest bytea not null check (length(digest) = 32),
  -- The log's end when catching up began: below it the digest says nothing.
  horizon bigint not null,
  settings_revision bigint not null,
  change_format integer not null,
  applied_at timestamptz not null
);

-- What the cluster remembers of each user; state is null where the key was deleted.
create table user_states (
  user_id uuid primary key,
  revision bigint not null,
  state jsonb
);

-- How far followers of other streams are.
create table positions (
  name text primary key,
  position bigint not null
);

create table events (
  id uuid not null,
  day date not null,
  at timestamptz not null,
  type text not null,
  node text not null,
  user_id uuid,
  username text,
  username_key text collate "C",
  actor text,
  application text,
  client_address text,
  result text,
  reason text,
  degraded boolean not null,
  duration_ms integer,
  details jsonb not null,
  primary key (day, id)
) partition by range (day);
create index events_by_time on events (at, id);
create index events_by_user on events (user_id, at);
create index events_by_username on events (username_key, at);

-- Days too far off to deserve a partition of their own.
create table events_default partition of events default;

-- This node's events that are not in the cluster's event stream yet. Every verification makes,
-- changes and deletes a row here: room for updates in place, and vacuum by count.
create table outbox (
  id uuid primary key,
  at timestamptz not null,
  final boolean not null,
  username_key text collate "C",
  event jsonb not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index outbox_by_time on outbox (at, id);

-- Claims on a code while the quorum may be away, this node's own and other nodes'.
-- Attempt ids are compared on every node alike, hence the fixed collation.
create table reservations (
  user_id uuid not null,
  item text collate "C" not null,
  attempt_id text collate "C" not null,
  holder text not null,
  phase text not null check (phase in ('asking', 'cas', 'approved')),
  degraded boolean not null,
  claim jsonb,
  merged boolean not null default false,
  created_at timestamptz not null default now(),
  primary key (user_id, item)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
create index reservations_by_time on reservations (created_at);
create index reservations_unmerged on reservations (user_id)
  where phase = 'approved' and degraded and not merged;
create index reservations_degraded on reservations (user_id) where degraded;

-- Whether this node has stopped waiting for the quorum.
create table circuit (
  only_row boolean primary key default true check (only_row),
  open boolean not null,
  since timestamptz not null,
  reason text not null
);
insert into circuit (open, since, reason) values (false, now(), 'never opened');
