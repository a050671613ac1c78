-- Where an event stood in the cluster's event stream: the order in which every node stores them,
-- whatever the clocks say. 0: stored before this was kept.
alter table events
  add column incarnation integer not null default 0,
  add column arrival bigint not null default 0;
create index events_by_arrival on events (incarnation, arrival);

-- What the last examination of this node's tables found wrong, in which incarnation; problem is null
-- where nothing was.
create table examination (
  only_row boolean primary key default true check (only_row),
  at timestamptz not null,
  incarnation_id text not null,
  revision bigint not null,
  problem text
);
