-- Whether a serial number or a secret (by its keyed fingerprint) is enrolled already. Users without
-- one cost nothing; lists of new entries are kept short, so that no change waits for a long one.
create index users_by_token_fingerprint on users
  using gin ((jsonb_path_query_array(document, '$.authenticators[*].fingerprint')) jsonb_path_ops)
  with (gin_pending_list_limit = 512)
  where jsonb_path_exists(document, '$.authenticators[*].fingerprint');
create index users_by_token_serial on users
  using gin ((jsonb_path_query_array(
    lower(document ->> 'authenticators')::jsonb, '$[*].serial')) jsonb_path_ops)
  with (gin_pending_list_limit = 512)
  where jsonb_path_exists(document, '$.authenticators[*].serial');
