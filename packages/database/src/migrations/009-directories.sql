-- Where people come from: Active Directory and LDAP servers.
create table directories (
  id uuid primary key,
  document jsonb not null,
  revision bigint not null
);

-- How far the synchronisation of each is.
create table directory_syncs (
  id uuid primary key,
  document jsonb not null,
  revision bigint not null
);

-- What users from directories are found by besides their usernames. A name of two users is ambiguous: no constraint.
create table user_names (
  user_id uuid not null,
  key text collate "C" not null,
  is_mail boolean not null,
  primary key (user_id, key)
);
create index user_names_by_key on user_names (key, is_mail);

-- Removed and kept in case the same object comes back: no users, so nobody finds them and their names are free.
create table removed_users (
  id uuid primary key,
  document jsonb not null,
  revision bigint not null
);

create index users_by_directory_object on users
  ((document -> 'directory' ->> 'id'), (document -> 'directory' ->> 'object'))
  where document ? 'directory';
create index users_by_directory on users ((document -> 'directory' ->> 'id'), id)
  where document ? 'directory';
create index removed_users_by_directory_object on removed_users
  ((document -> 'directory' ->> 'id'), (document -> 'directory' ->> 'object'))
  where document ? 'directory';
create index removed_users_by_directory on removed_users ((document -> 'directory' ->> 'id'), id)
  where document ? 'directory';

-- Tables that were being filled for another incarnation lack these: they are filled from the start.
drop schema if exists next cascade;
