import type { Database, Sql, Transaction } from './open-database.ts';

export type Incarnation = {
  number: number;
  id: string;
  parent: string | null;
  baseRevision: number;
};

/** How far this replica is. */
export type Applied = {
  incarnationNumber: number;
  incarnationId: string;
  incarnationParent: string | null;
  baseRevision: number;
  /** Newest epoch whose barrier is complete. */
  epoch: number;
  revision: number;
  /** 32 bytes in hex. */
  digest: string;
  /** False below the catch-up horizon, where a compacted log leaves a digest no one shares. */
  isDigestComparable: boolean;
  horizon: number;
  /** Highest revision of any settings document. */
  settingsRevision: number;
  changeFormat: number;
  appliedAt: Date;
};

/** The replica's position; null before {@link initApplied}. */
export async function readApplied(db: Database): Promise<Applied | null> {
  const [row] = await appliedRows(db.sql);
  return row ? toApplied(row) : null;
}

/** Enters an incarnation at its base with nothing applied; a replica that is in one stays. */
export async function initApplied(db: Database, incarnation: Incarnation): Promise<Applied> {
  return db.transaction(async (tx) => {
    await tx`
      insert into applied (incarnation_number, incarnation_id, incarnation_parent, base_revision,
        epoch, revision, digest, horizon, settings_revision, change_format, applied_at)
      values (${incarnation.number}, ${incarnation.id}, ${incarnation.parent},
        ${incarnation.baseRevision}, 0, ${incarnation.baseRevision},
        decode(${'00'.repeat(32)}, 'hex'), 0, 0, 0, now())
      on conflict do nothing`;
    return selectApplied(tx);
  });
}

/** @throws Error if there is no position */
export async function selectApplied(tx: Transaction): Promise<Applied> {
  const [row] = await appliedRows(tx);
  if (!row) throw new Error('the replica belongs to no incarnation');
  return toApplied(row);
}

type AppliedRow = Omit<Applied, 'isDigestComparable' | 'appliedAt'> & { appliedAt: string };

function appliedRows(sql: Sql | Transaction) {
  return sql<AppliedRow[]>`
    select incarnation_number as "incarnationNumber", incarnation_id as "incarnationId",
      incarnation_parent as "incarnationParent", base_revision as "baseRevision", epoch, revision,
      encode(digest, 'hex') as digest, horizon, settings_revision as "settingsRevision",
      change_format as "changeFormat", applied_at as "appliedAt"
    from applied`;
}

function toApplied(row: AppliedRow): Applied {
  return {
    ...row,
    isDigestComparable: row.revision >= row.horizon,
    appliedAt: new Date(row.appliedAt),
  };
}
