import { openDatabase } from '@countersign/database';
const db = openDatabase({
  host: '/var/tmp/t2sock',
  port: 5432,
  user: 'countersign',
  database: 'countersign',
  max: 1,
  applicationName: 'x',
});
console.log(await db.sql`select * from circuit`);
console.log(
  await db.sql`select holder, phase, degraded, merged, claim is null as noclaim, count(*), min(created_at), max(created_at) from reservations group by 1,2,3,4,5 order by 1,2`,
);
console.log(
  await db.sql`select count(*), count(distinct user_id) from reservations where phase='approved' and degraded and not merged and claim is not null`,
);
console.log(
  await db.sql`select count(*), max(at), min(at), degraded, node from events where type='verification' group by 4,5`,
);
console.log(
  await db.sql`select type,node,at,details from events where type like 'circuit%' or type like 'verification.%' order by at limit 20`,
);
console.log(await db.sql`select * from positions`, await db.sql`select count(*) from outbox`);
await db.close();
