import type { NatsLink } from '@countersign/cluster';
import type { CertificateNotice } from '@countersign/tls';
import type { Backups } from './backup/backups.ts';
import type { ForeignLogs } from './foreign-logs.ts';
import type { LimitKeeper } from './limit-keeper.ts';
import type { RebuildWatch } from './rebuild-watch.ts';
import type { Replica } from './replica.ts';
import { describeSavedChanges } from './save-changes.ts';
import type { StatesProbe } from './states-probe.ts';
import type { Storage } from './storage.ts';
import type { TablesWatch } from './tables-watch.ts';
import type { DatabaseWatch } from './watch-database.ts';

type Parts = {
  dataDirectory: string;
  incarnationNumber: number;
  link: Pick<NatsLink, 'flaw'>;
  replica: Replica;
  tables: TablesWatch;
  storage: Storage;
  databaseWatch: DatabaseWatch;
  probe: StatesProbe;
  limitKeeper: LimitKeeper;
  foreign: ForeignLogs;
  rebuildWatch: RebuildWatch;
  certificates(): CertificateNotice[];
  backups: Pick<Backups, 'problems'>;
  /** Of directories that cannot be synchronised, where this node is master. */
  directoryProblems(): string[];
};

/** What is wrong with this node, a line each. */
export class NodeHealth {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** What an operator should know. */
  problems(): string[] {
    const { dataDirectory, storage, probe, limitKeeper, foreign, rebuildWatch } = this.#parts;
    return [
      ...this.#faults(),
      ...(this.#parts.link.flaw === null ? [] : [this.#parts.link.flaw]),
      ...(probe.isWritable ? [] : ['its writes to the log servers are not answered']),
      ...storage.problems(),
      ...limitKeeper.problems,
      ...foreign.problems,
      ...describeSavedChanges(dataDirectory),
      ...(rebuildWatch.problem ? [rebuildWatch.problem] : []),
      ...this.certificates().flatMap(({ problem }) => problem ?? []),
      ...this.#parts.backups.problems(),
      ...this.#parts.directoryProblems(),
    ];
  }

  certificates(): CertificateNotice[] {
    return this.#parts.certificates();
  }

  /** What keeps this node from being master. */
  defects(): string[] {
    const { damage } = this.#parts.tables;
    const found = this.#faults();
    return damage ? [...found, `its tables do not match its digest: ${damage}`] : found;
  }

  #faults(): string[] {
    const { incarnationNumber, replica, storage, databaseWatch } = this.#parts;
    const found: string[] = [];
    if (replica.problem) found.push(replica.problem);
    else if (replica.mode !== 'live') {
      found.push(`it fills its tables for incarnation ${incarnationNumber}`);
    }
    if (storage.defect) found.push(storage.defect);
    if (databaseWatch.isSilent) {
      const seconds = Math.round(databaseWatch.silentForMs / 1000);
      found.push(`its PostgreSQL is silent for ${seconds} s`);
    }
    return found;
  }
}
