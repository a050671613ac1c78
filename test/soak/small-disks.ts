import { join } from 'node:path';
import { SmallDisk } from '../harness/small-disk.ts';
import type { FillDisk } from './strike.ts';

// What is kept grows with the time a soak lasts, and a full disk is as large as this for a moment.
const DATABASE_MIB = 1024;
const LOG_MIB = 192;

/** File systems in memory under what the nodes keep, so that they can be full without harm to anybody else. */
export class SmallDisks {
  readonly #disks = new Map<string, Record<'nats' | 'postgres', SmallDisk>>();

  readonly mount = (folder: string, node: string): void => {
    const postgres = SmallDisk.mount(folder, DATABASE_MIB);
    this.#disks.set(node, { postgres, nats: SmallDisk.mount(join(folder, 'nats'), LOG_MIB) });
  };

  readonly fill: FillDisk = async (node, part) => {
    const disk = this.#disks.get(node)?.[part];
    if (!disk) throw new Error(`${node} has no disk of its own`);
    disk.fill();
    return async () => disk.makeRoom();
  };

  /** Nothing may run there any more. */
  readonly unmount = (): void => {
    for (const { nats, postgres } of this.#disks.values()) {
      nats.unmount();
      postgres.unmount();
    }
  };
}
