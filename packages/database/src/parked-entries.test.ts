import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { findParkedEntry, keepParkedEntry } from './parked-entries.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';

const postgres = useTestPostgres();

describe('parked entries', () => {
  it('are there until they are over, in the place of what stood there; then they go', async () => {
    const db = postgres.open(await postgres.migratedDatabase());
    const [id, over] = [randomUUID(), randomUUID()];
    const later = Date.now() + 60_000;
    await keepParkedEntry(db, { id: over, sealed: Buffer.from('old'), expiresAtMs: 1000 });
    expect(await findParkedEntry(db, over)).toBeNull();
    await keepParkedEntry(db, { id, sealed: Buffer.from('one'), expiresAtMs: later });
    await keepParkedEntry(db, { id, sealed: Buffer.from('two'), expiresAtMs: later });
    expect(await findParkedEntry(db, id)).toEqual(Buffer.from('two'));
    expect(await db.sql`select id from parked_entries`).toEqual([{ id }]);
  });
});
