-- Who asks over RADIUS.
create table radius_clients (
  id uuid primary key,
  document jsonb not null,
  revision bigint not null
);

-- RADIUS servers that are asked for a first factor.
create table radius_targets (
  id uuid primary key,
  document jsonb not null,
  revision bigint not null
);

-- Tables that were being filled for another incarnation lack these: they are filled from the start.
drop schema if exists next cascade;
