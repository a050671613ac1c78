import type { Database } from './open-database.ts';

const RECOMPUTE_TIMEOUT_MS = 120_000;

export type RecomputedDigest = {
  revision: number;
  /** What the documents give now, in hex. */
  digest: string;
  /** What was kept while applying; another value means damage. */
  stored: string;
};

/** Computes the digest anew from the documents, in the one snapshot of one statement. */
export async function recomputeDigest(db: Database): Promise<RecomputedDigest> {
  return db.transaction(async (tx) => {
    await tx`select set_config('statement_timeout', ${String(RECOMPUTE_TIMEOUT_MS)}, true)`;
    const [row] = await tx<{ revision: number; stored: string; bits: string | null }[]>`
      select revision, encode(digest, 'hex') as stored, (
        select bit_xor(('x' || encode(sha256(
          convert_to(kind, 'UTF8') || '\\x00'::bytea || convert_to(id, 'UTF8') || '\\x00'::bytea ||
          convert_to(revision::text, 'UTF8') || '\\x00'::bytea || bytes), 'hex'))::bit(256))::text
        from documents
      ) as bits
      from applied`;
    if (!row) throw new Error('the replica belongs to no incarnation');
    const digest = BigInt(`0b${row.bits ?? '0'}`)
      .toString(16)
      .padStart(64, '0');
    return { revision: row.revision, digest, stored: row.stored };
  }, 'isolation level repeatable read read only');
}
