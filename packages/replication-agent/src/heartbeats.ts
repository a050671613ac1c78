import { setTimeout as sleep } from 'node:timers/promises';
import {
  CHANGE_FORMAT,
  HEARTBEAT_MS,
  type Lease,
  type LogLayout,
  type Membership,
  type NodeKeyRing,
} from '@countersign/cluster';
import type { AgentConfig, KeyRingReport } from './config.ts';
import type { KeyRotation } from './keys/key-rotation.ts';
import type { Mastership } from './mastership.ts';
import type { Witnesses } from './members/witnesses.ts';
import type { NodeHealth } from './node-health.ts';
import type { Replica } from './replica.ts';
import type { StatesProbe } from './states-probe.ts';
import type { Storage } from './storage.ts';
import type { StoreMarks } from './store-marks.ts';
import type { TablesWatch } from './tables-watch.ts';
import type { DatabaseWatch } from './watch-database.ts';

type Parts = {
  config: AgentConfig;
  instance: string;
  layout: LogLayout;
  incarnationNumber: number;
  known: { runsLogServer: boolean; storeMarks: StoreMarks };
  membership: Membership;
  mastership: Mastership;
  lease: Lease;
  replica: Replica;
  health: NodeHealth;
  storage: Storage;
  tables: TablesWatch;
  databaseWatch: DatabaseWatch;
  probe: StatesProbe;
  keyRing(): KeyRingReport;
  keyRotation: Pick<KeyRotation, 'progress'>;
  witnesses: Pick<Witnesses, 'reports'>;
  /** The agent ends: it must not be made master any more. */
  stopping: AbortSignal;
};

/** What this node says of itself to the others, all the time and whenever its role changes. */
export class Heartbeats {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.send();
      await sleep(HEARTBEAT_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  send(): void {
    const { config, instance, layout, incarnationNumber, known, membership } = this.#parts;
    const { mastership, lease, replica, health, storage, tables, probe } = this.#parts;
    const { applied, filling } = replica;
    const { incarnation } = applied;
    known.storeMarks.note(membership.nodes());
    membership.send({
      node: config.node,
      instance,
      role: mastership.isActive ? 'master' : 'subordinate',
      isHandingOver: mastership.isHandingOver || mastership.isBetweenEpochs,
      masterSince: mastership.term?.since ?? null,
      leaseHolder: lease.record?.holder ?? lease.record?.previous ?? null,
      epoch: mastership.term?.epoch ?? applied.epoch,
      incarnation: { number: incarnation.number, id: incarnation.id },
      filling: filling && { number: incarnationNumber, revision: filling.revision },
      logServer: config.logServer,
      logServerTag: known.runsLogServer ? layout.tag : null,
      storeMark: known.runsLogServer ? known.storeMarks.own(layout.tag) : null,
      revision: applied.revision,
      digest: applied.digest,
      isDigestComparable: replica.isComparable,
      isPromotable: config.isPromotable && !this.#parts.stopping.aborted,
      version: config.version,
      format: CHANGE_FORMAT,
      url: config.url,
      isLogWritable: probe.isWritable,
      verifies: !this.#parts.databaseWatch.isSilent,
      damage: tables.damage,
      problems: [...health.problems(), ...problemsOf(this.#parts.keyRing())],
      disks: storage.disks,
      certificates: health.certificates().map(({ name, expiresAt }) => ({ name, expiresAt })),
      keyRing: describeKeyRing(this.#parts.keyRing()),
      keyRotation: this.#parts.keyRotation.progress,
      witnesses: this.#parts.witnesses.reports(),
      wallMs: Date.now(),
    });
  }
}

function describeKeyRing({ active, generations }: KeyRingReport): NodeKeyRing {
  const whole = generations.filter(({ isRetired }) => !isRetired);
  return { active, generations: whole.map(({ id, madeAt }) => ({ id, madeAt })) };
}

function problemsOf({ problem }: KeyRingReport): string[] {
  return problem === null ? [] : [`its cluster key cannot be changed: ${problem}`];
}
