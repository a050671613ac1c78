-- Who asks for verifications, with settings of their own.
create table applications (
  id uuid primary key,
  document jsonb not null,
  revision bigint not null
);

-- Tables that were being filled for another incarnation lack this one: they are filled from the start.
drop schema if exists next cascade;
