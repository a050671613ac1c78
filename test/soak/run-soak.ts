import { setTimeout as lasting } from 'node:timers/promises';
import type { NodeConfigInput } from '@countersign/node';
import { TestCluster } from '../harness/cluster.ts';
import { canMount } from '../harness/small-disk.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { VerificationLoad } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';
import { ChangeLoad } from './change-load.ts';
import { clockEnvironment, clockFileOf } from './clock-of.ts';
import { soakFigures, type SoakFigures } from './figures.ts';
import { describeFault, planFaults, type FaultKind, type Round } from './plan-faults.ts';
import { SameCodeLoad } from './same-code-load.ts';
import { SmallDisks } from './small-disks.ts';
import { strike, type FillDisk } from './strike.ts';

const MIB = 1024 * 1024;
const QUIET_EVERY_MS = 60_000;
const WHOLE_WITHIN_MS = 90_000;
const KINDS: FaultKind[] = ['kill', 'pause', 'cut', 'slow', 'clock', 'fill'];

export type SoakResult = SoakFigures & {
  rounds: number;
  quietPoints: number;
  faults: Record<string, number>;
};

/**
 * Strikes random nodes with random faults under load until the time is over; about once a minute the load rests, and
 * the checker looks at everything since the beginning. Throws the shortest contradiction, with the seed.
 */
export async function runSoak(options: {
  seed: number;
  minutes: number;
  log(line: string): void;
  /** Fill disks too: small ones in memory, which only root can mount. */
  fillsDisks?: boolean;
}): Promise<SoakResult> {
  const { seed, log } = options;
  const disks = options.fillsDisks && canMount ? new SmallDisks() : null;
  const kinds = KINDS.filter((kind) => kind !== 'fill' || disks);
  if (!disks) log(`skipped: full disks${options.fillsDisks ? ' (only root can mount them)' : ''}`);
  await using cluster = await TestCluster.start({
    relays: true,
    ...(disks && { prepare: disks.mount, release: disks.unmount, configure: withSmallLog }),
    environmentOf: (folder, name) => clockEnvironment(clockFileOf(folder, name)),
  });
  const api = cluster.api(await cluster.master());
  const people = await enrolPeople(api, 'person', 24);
  const twins = await enrolPeople(api, 'twin', 6);
  await cluster.untilWhole();

  const names = cluster.nodes.map(({ name }) => name);
  const plan = planFaults({ seed, nodes: names, kinds });
  const faults: Record<string, number> = {};
  const endAt = performance.now() + options.minutes * 60_000;
  let rounds = 0;
  let quietPoints = 0;
  try {
    while (performance.now() < endAt) {
      const load = new Load(cluster, { people, twins, prefix: `soak-${quietPoints}` });
      const quietAt = Math.min(endAt, performance.now() + QUIET_EVERY_MS);
      try {
        while (performance.now() < quietAt) {
          const round = plan.next().value;
          rounds += 1;
          log(`round ${rounds}: ${round.faults.map(describeFault).join('; ')}`);
          for (const { kind } of round.faults) faults[kind] = (faults[kind] ?? 0) + 1;
          await playRound(cluster, round, disks?.fill ?? null);
        }
      } finally {
        await load.stop();
      }
      await expectHistoryHolds(cluster);
      quietPoints += 1;
      log(`quiet point ${quietPoints}: the history holds`);
    }
  } catch (error) {
    const again = `npm run soak -- --minutes ${options.minutes} --seed ${seed}`;
    throw new Error(`seed ${seed}, round ${rounds}: ${String(error)}\nagain: ${again}`, {
      cause: error,
    });
  }
  return { rounds, quietPoints, faults, ...soakFigures(cluster.history.records) };
}

function withSmallLog(config: NodeConfigInput): NodeConfigInput {
  const limits = { changesBytes: 48 * MIB, statesBytes: 32 * MIB, eventsBytes: 32 * MIB };
  return { ...config, limits };
}

async function playRound(
  cluster: TestCluster,
  round: Round,
  fillDisk: FillDisk | null,
): Promise<void> {
  await lasting(round.calmMs);
  await Promise.all(
    round.faults.map(async (fault) => {
      const heal = await strike(cluster, fault, fillDisk);
      await lasting(fault.lastsMs);
      await heal();
    }),
  );
  await cluster.untilWhole(WHOLE_WITHIN_MS);
}

class Load {
  readonly #parts: { stop(): Promise<unknown> }[];

  constructor(cluster: TestCluster, about: { people: Person[]; twins: Person[]; prefix: string }) {
    const clients = cluster.nodes.map((node) => cluster.api(node));
    const named = clients.map((api) => ({ name: api.node, api }));
    this.#parts = [
      new VerificationLoad({ clients: named, people: about.people, everyMs: 100 }),
      new SameCodeLoad({ clients, people: about.twins, everyMs: 300 }),
      new ChangeLoad({ clients, prefix: about.prefix, everyMs: 100 }),
    ];
  }

  async stop(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.stop()));
  }
}
