import { once } from 'node:events';
import type { RadiusPorts, RadiusTest, RadiusTestReport, RadiusWatchLine } from '../ports.ts';

/** RADIUS of a node, without packets: tests get the reports that wait for them, watchers hear what they are told. */
export class MemoryRadiusFront implements RadiusPorts {
  readonly tests: RadiusTest[] = [];
  /** Of the next tests; without one they are accepted. */
  readonly reports: Partial<RadiusTestReport>[] = [];
  readonly #watchers = new Set<(line: RadiusWatchLine) => void>();

  async test(test: RadiusTest): Promise<RadiusTestReport> {
    this.tests.push(test);
    return {
      id: test.id,
      node: 'node-1',
      steps: [],
      outcome: 'accept',
      reason: null,
      question: null,
      attributes: [],
      tookMs: 12,
      ...this.reports.shift(),
    };
  }

  async watch({ signal, onLine }: Parameters<RadiusPorts['watch']>[0]): Promise<void> {
    this.#watchers.add(onLine);
    onLine({ kind: 'watching', node: 'node-1', workers: 2, silent: [] });
    if (!signal.aborted) await once(signal, 'abort');
    this.#watchers.delete(onLine);
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  tell(line: RadiusWatchLine): void {
    for (const watcher of this.#watchers) watcher(line);
  }
}
