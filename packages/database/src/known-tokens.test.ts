import { randomUUID } from 'node:crypto';
import type { OathAuthenticator, UserDocument } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { applyChanges } from './apply-changes.ts';
import { findKnownTokens } from './known-tokens.ts';
import { beginNextTables, swapInNextTables } from './next-tables.ts';
import { initApplied } from './read-applied.ts';
import { exampleUser, firstIncarnation, setChange } from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';

const postgres = useTestPostgres();
const fingerprint = (n: number) => n.toString(16).padStart(32, '0');

function token(more: Partial<OathAuthenticator>): OathAuthenticator {
  return {
    type: 'totp',
    id: randomUUID(),
    algorithm: 'SHA1',
    digits: 6,
    periodSeconds: 30,
    sealedSecret: 'c2VhbGVk',
    createdAt: '2026-03-01T12:00:00.000Z',
    ...more,
  } as OathAuthenticator;
}

function userWith(username: string, ...authenticators: OathAuthenticator[]): UserDocument {
  return { ...exampleUser(username), authenticators };
}

describe('tokens that are known', () => {
  it('are found by serial number in any case and by fingerprint, until they are gone', async () => {
    const db = await postgres.cleanDatabase();
    await initApplied(db, firstIncarnation);
    const alice = userWith('alice', token({ serial: 'Ab-1', fingerprint: fingerprint(1) }));
    const bob = userWith('bob', token({}), token({ fingerprint: fingerprint(2) }));
    await applyChanges(db, [
      setChange(1, { kind: 'user', document: alice }),
      setChange(2, { kind: 'user', document: bob }),
      setChange(3, { kind: 'user', document: exampleUser('carol') }),
    ]);
    const marks = {
      serials: ['aB-1', 'Ab', '"', '%', ''],
      fingerprints: [fingerprint(1), fingerprint(2), fingerprint(3), 'Ab-1'],
    };
    expect(await findKnownTokens(db, marks)).toEqual(
      new Set(['ab-1', fingerprint(1), fingerprint(2)]),
    );
    expect(await findKnownTokens(db, { serials: [], fingerprints: [] })).toEqual(new Set());
    await applyChanges(db, [
      setChange(4, { kind: 'user', document: { ...alice, authenticators: [] } }),
    ]);
    expect(await findKnownTokens(db, marks)).toEqual(new Set([fingerprint(2)]));
  });

  it('are found by the indexes, also in tables that were filled anew', async () => {
    const db = await postgres.cleanDatabase();
    await initApplied(db, firstIncarnation);
    await beginNextTables(db, { ...firstIncarnation, number: 2, id: 'next' });
    const users = Array.from({ length: 400 }, (_, n) =>
      userWith(`user-${n}`, token({ serial: `S${n}`, fingerprint: fingerprint(n) })),
    );
    await applyChanges(
      db,
      users.map((document, index) => setChange(index + 1, { kind: 'user', document })),
      { intoNext: true },
    );
    await swapInNextTables(db, 'next');
    await db.sql`analyze users`;
    const explained = await db.transaction(async (tx) => {
      await tx`set local enable_seqscan = off`;
      return Promise.all([
        tx`explain select from users
          where jsonb_path_exists(document, '$.authenticators[*].fingerprint')
            and jsonb_path_query_array(document, '$.authenticators[*].fingerprint') ?| array['x']`,
        tx`explain select from users
          where jsonb_path_exists(document, '$.authenticators[*].serial')
            and jsonb_path_query_array(lower(document ->> 'authenticators')::jsonb, '$[*].serial')
              ?| array['x']`,
      ]);
    });
    for (const rows of explained) expect(JSON.stringify(rows)).toContain('Bitmap Index Scan');
    const marks = { serials: ['s7', 's400'], fingerprints: [fingerprint(399)] };
    expect(await findKnownTokens(db, marks)).toEqual(new Set(['s7', fingerprint(399)]));
  });
});
