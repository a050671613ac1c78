-- Numbers that wait for an administrator are listed: few, and found without reading everybody.
create index users_with_pending_phones on users (id) where document -> 'directory' ? 'pendingPhones';
