import { jsonText } from './json-text.ts';
import type { Database, Sql, Transaction } from './open-database.ts';

/** One life of the change log, as in the cluster package. */
export type Incarnation = {
  number: number;
  id: string;
  parent: string | null;
  baseRevision: number;
  baseEpoch: number;
  ancestors: { number: number; id: string; revision: number }[];
  by: string | null;
  disasterAt: string | null;
};

/** How far this replica is. */
export type Applied = {
  incarnation: Incarnation;
  /** False until the replica first held everything the log held when it began. */
  isFilled: boolean;
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

/** Like {@link readApplied}, inside a transaction. */
export async function findApplied(tx: Transaction): Promise<Applied | null> {
  const [row] = await appliedRows(tx);
  return row ? toApplied(row) : null;
}

/** Enters an incarnation at its base with nothing applied; a replica that is in one stays. */
export async function initApplied(db: Database, incarnation: Incarnation): Promise<Applied> {
  return db.transaction(async (tx) => insertApplied(tx, incarnation));
}

export async function insertApplied(tx: Transaction, incarnation: Incarnation): Promise<Applied> {
  await tx`
    insert into applied (incarnation, epoch, revision, digest, horizon, settings_revision,
      change_format, is_filled, applied_at)
    values (${jsonText(incarnation)}::text::jsonb, ${incarnation.baseEpoch},
      ${incarnation.baseRevision}, decode(${'00'.repeat(32)}, 'hex'), 0, 0, 0, false, now())
    on conflict do nothing`;
  return selectApplied(tx);
}

/** @throws Error if there is no position */
export async function selectApplied(tx: Transaction): Promise<Applied> {
  const applied = await findApplied(tx);
  if (!applied) throw new Error('the replica belongs to no incarnation');
  return applied;
}

type AppliedRow = Omit<Applied, 'isDigestComparable' | 'appliedAt'> & { appliedAt: string };

function appliedRows(sql: Sql | Transaction) {
  return sql<AppliedRow[]>`
    select incarnation, epoch, revision, encode(digest, 'hex') as digest, horizon,
      settings_revision as "settingsRevision", change_format as "changeFormat",
      is_filled as "isFilled", applied_at as "appliedAt"
    from applied`;
}

function toApplied(row: AppliedRow): Applied {
  return {
    ...row,
    isDigestComparable: row.revision >= row.horizon,
    appliedAt: new Date(row.appliedAt),
  };
}
