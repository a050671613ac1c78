import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDatabase, readApplied, type Database } from '@countersign/database';
import type { TestCluster, TestNode } from '../harness/cluster.ts';

type Sample = { at: number; revision: number };

/** Looks every few milliseconds how far each node's PostgreSQL is. */
export class ReplicaWatch {
  readonly #samples = new Map<string, Sample[]>();
  readonly #databases: Database[];
  readonly #running: Promise<void>[];
  #isStopped = false;

  constructor(cluster: TestCluster, everyMs: number) {
    this.#databases = cluster.nodes.map((node) => openReplica(node));
    this.#running = cluster.nodes.map(async (node, i) => {
      const samples: Sample[] = [];
      this.#samples.set(node.name, samples);
      while (!this.#isStopped) {
        const applied = await readApplied(this.#databases[i]!).catch(() => null);
        const revision = applied?.revision ?? 0;
        if (revision !== samples.at(-1)?.revision)
          samples.push({ at: performance.now(), revision });
        await sleep(everyMs);
      }
    });
  }

  /** When the slowest node was first seen to have this revision. */
  appliedEverywhereAt(revision: number): number {
    const times = [...this.#samples.values()].map(
      (samples) => samples.find((sample) => sample.revision >= revision)?.at ?? Infinity,
    );
    return Math.max(...times);
  }

  async untilEverywhere(revision: number, timeoutMs: number): Promise<number> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const at = this.appliedEverywhereAt(revision);
      if (at < Infinity) return at;
      if (performance.now() > deadline) throw new Error(`revision ${revision} is not everywhere`);
      await sleep(20);
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#running);
    await Promise.all(this.#databases.map((db) => db.close()));
  }
}

export function openReplica(node: TestNode): Database {
  return openDatabase({
    host: join(node.folder, 'socket'),
    port: 5432,
    user: 'countersign',
    database: 'countersign',
    max: 1,
    applicationName: 'bench',
  });
}
