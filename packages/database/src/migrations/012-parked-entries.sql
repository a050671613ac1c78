-- What a question cannot hold, until its answer: sealed by the worker that asked.
create table parked_entries (
  id uuid primary key,
  sealed bytea not null,
  expires_at timestamptz not null
);
create index parked_entries_expires_at on parked_entries (expires_at);
