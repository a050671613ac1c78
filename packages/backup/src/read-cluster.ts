import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import {
  withSnapshot,
  type Database,
  type Snapshot,
  type SnapshotDocument,
} from '@countersign/database';
import { BackupError } from './backup-error.ts';
import {
  BACKUP_FORMAT,
  encodeLine,
  type BackupLine,
  type Counts,
  type Manifest,
} from './backup-lines.ts';

export type BackupSource = {
  node: string;
  version: string;
  clusterId: string | null;
  /** The cluster's keys, as `encodeKeyRing` makes them: without them no seed opens. */
  readKeys(): Promise<string>;
  withEvents: boolean;
  /** As soon as it is handed on. */
  onManifest?(manifest: Manifest): void;
};

/**
 * Reads the replica at one revision and hands its lines to `take`, a few at a time and only as fast as they are taken.
 * @throws BackupError `not_now` while the replica catches up, or is filled or rebuilt
 */
export async function readCluster<T>(
  db: Database,
  source: BackupSource,
  take: (lines: AsyncIterable<string>) => Promise<T>,
): Promise<T> {
  return withSnapshot(db, (snapshot) => take(linesOf(snapshot, source)));
}

async function* linesOf(snapshot: Snapshot, source: BackupSource): AsyncGenerator<string> {
  const { node, version, clusterId, withEvents } = source;
  const { incarnation, revision, epoch, digest } = wholeReplica(snapshot);
  const keys = await source.readKeys();
  const createdAt = new Date().toISOString();
  const about = { id: randomUUID(), createdAt, node, version, clusterId };
  const manifest: Manifest = {
    ...{ format: BACKUP_FORMAT, ...about },
    ...{ incarnation, revision, epoch, digest, withEvents },
  };
  source.onManifest?.(manifest);
  yield encodeLine({ manifest });
  yield encodeLine({ clusterKey: keys });
  const counts: Counts = { documents: 0, userStates: 0, stopFacts: 0, reservations: 0, events: 0 };
  async function* page<R>(
    pages: AsyncIterable<readonly R[]>,
    count: keyof Counts,
    toLine: (row: R) => BackupLine,
  ) {
    for await (const rows of pages) {
      counts[count] += rows.length;
      yield rows.map((row) => encodeLine(toLine(row))).join('');
    }
  }
  yield* page(snapshot.documents(), 'documents', documentLine);
  yield* page(snapshot.userStates(), 'userStates', ({ userId, state }) => ({
    userState: [userId, state],
  }));
  const stopFacts = await snapshot.stopFacts();
  yield* page(inOnePage(stopFacts), 'stopFacts', (stopFact) => ({ stopFact }));
  yield* page(snapshot.unmergedReservations(), 'reservations', (reservation) => {
    return { reservation } as BackupLine;
  });
  if (withEvents) {
    yield* page(snapshot.events(), 'events', (event) => ({ event }) as BackupLine);
  }
  // What was read may need the later ones.
  if ((await source.readKeys()) !== keys) {
    throw new BackupError('not_now', "the cluster's keys changed meanwhile: try again");
  }
  yield encodeLine({ end: counts });
}

function wholeReplica({ applied, isRebuilding }: Snapshot): NonNullable<Snapshot['applied']> {
  if (!applied) {
    throw new BackupError(
      'not_now',
      'this node belongs to no cluster yet: there is nothing to back up',
    );
  }
  if (isRebuilding) {
    throw new BackupError(
      'not_now',
      'this node fills its tables for another incarnation: try again when it is done',
    );
  }
  if (!applied.isFilled || !applied.isDigestComparable) {
    throw new BackupError(
      'not_now',
      `this node still catches up with the log (revision ${applied.revision} of ${applied.horizon}): ` +
        'try again later, or at another node',
    );
  }
  return applied;
}

async function* inOnePage<R>(rows: R[]): AsyncGenerator<R[]> {
  if (rows.length > 0) yield rows;
}

function documentLine(row: SnapshotDocument): BackupLine {
  const { kind, id, revision, epoch, removed, bytes } = row;
  // The log holds JSON alone; what is none would come back as something else.
  if (!isUtf8(bytes)) {
    throw new BackupError(
      'damaged',
      `this node's ${kind} ${id} is damaged: look at countersign doctor`,
    );
  }
  return { document: [kind, id, revision, epoch, removed, bytes.toString('utf8')] };
}
