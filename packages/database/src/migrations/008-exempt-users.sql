-- Who skips the second step is shown in status: few, and found without reading everybody.
create index users_exempt on users ((document -> 'exempt' ->> 'until')) where document ? 'exempt';
