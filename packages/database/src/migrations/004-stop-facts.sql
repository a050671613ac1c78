-- Blocks and revocations accepted without a master. Never changed but for the two marks, and kept
-- until a rebuild: a fact counts until it expires or its subject's document lists it as lifted.
create table stop_facts (
  id uuid primary key,
  kind text collate "C" not null,
  subject text collate "C" not null,
  -- The node that accepted it.
  node text collate "C" not null,
  at timestamptz not null,
  expires_at timestamptz,
  fact jsonb not null,
  -- Whether the log's bucket holds it.
  published boolean not null default false,
  -- Whether its subject's document, as applied here, knows of it.
  settled boolean not null default false
);
create index stop_facts_by_subject on stop_facts (kind, subject);
create index stop_facts_by_time on stop_facts (at);
create index stop_facts_unpublished on stop_facts (at) where not published;
create index stop_facts_unsettled on stop_facts (at) where not settled;
