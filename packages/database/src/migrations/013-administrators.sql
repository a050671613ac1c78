-- Who runs the cluster.
create table administrators (
  id uuid primary key,
  document jsonb not null,
  revision bigint not null
);

-- Tables that were being filled for another incarnation lack this: they are filled from the start.
drop schema if exists next cascade;
