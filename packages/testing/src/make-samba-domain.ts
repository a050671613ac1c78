// Run by samba-domain.ts under flock(1), so that one process at a time makes a domain.
import { makeSambaDomain } from './samba-domain.ts';
import type { SambaPeople } from './samba-people.ts';

const [people, tar] = process.argv.slice(2) as [SambaPeople, string];
await makeSambaDomain(people, tar);
