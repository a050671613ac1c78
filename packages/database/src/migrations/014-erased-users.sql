-- Of this node alone: since when it takes what told who they were from events of users who were erased.
create table erasures (
  user_id uuid primary key,
  since timestamptz not null default now()
);
