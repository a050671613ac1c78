import { setTimeout as sleep } from 'node:timers/promises';
import { readStoreMark, writeStoreMark, type Log, type SeenNode } from '@countersign/cluster';

const EVERY_MS = 2000;

/**
 * Counts on beside the store of this node's log server, and remembers how far those of the others were: who comes back
 * with less has been given an older disk.
 */
export class StoreMarks {
  #own: { tag: string; mark: number } | null = null;
  readonly #heard = new Map<string, { tag: string; mark: number }>();

  /** On disk; null before the first. */
  own(tag: string): number | null {
    return this.#own?.tag === tag ? this.#own.mark : null;
  }

  note(nodes: readonly SeenNode[]): void {
    for (const seen of nodes) this.noteOne(seen);
  }

  noteOne(seen: Pick<SeenNode, 'node' | 'logServerTag' | 'storeMark'>): void {
    const { node, logServerTag: tag, storeMark: mark } = seen;
    if (tag === null || mark === null) return;
    const known = this.#heard.get(node);
    if (known?.tag !== tag || known.mark < mark) this.#heard.set(node, { tag, mark });
  }

  heard(tag: string): Record<string, number> {
    const ofTag = [...this.#heard].filter(([, known]) => known.tag === tag);
    return Object.fromEntries(ofTag.map(([node, { mark }]) => [node, mark]));
  }

  async countOn(options: {
    storeDirectory: string;
    tag: string;
    signal: AbortSignal;
    log: Log;
  }): Promise<void> {
    const { storeDirectory, tag, signal, log } = options;
    let wasTold = false;
    while (!signal.aborted) {
      try {
        const mark = Math.max(readStoreMark(storeDirectory), this.own(tag) ?? 0) + 1;
        await writeStoreMark(storeDirectory, mark);
        this.#own = { tag, mark };
      } catch (error) {
        if (!wasTold) log.warn({ error: String(error) }, 'the store could not be marked');
        wasTold = true;
      }
      await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}
