-- Whether a serial number or a secret (by its keyed fingerprint) is enrolled already. Users without
-- one cost nothing. No list of new entries: every question would have to read all of it.
create index users_by_token_fingerprint on users
  using gin ((jsonb_path_query_array(document, '$.authenticators[*].fingerprint')))
  with (fastupdate = off)
  where jsonb_path_exists(document, '$.authenticators[*].fingerprint');
create index users_by_token_serial on users
  using gin ((jsonb_path_query_array(
    lower(document ->> 'authenticators')::jsonb, '$[*].serial')))
  with (fastupdate = off)
  where jsonb_path_exists(document, '$.authenticators[*].serial');
