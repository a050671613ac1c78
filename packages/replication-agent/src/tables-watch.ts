import { setTimeout as sleep } from 'node:timers/promises';
import type { Log, Sealer } from '@countersign/cluster';
import {
  readExamination,
  storeExamination,
  type Database,
  type StoredExamination,
} from '@countersign/database';
import { examineTables, type TablesExamination } from './examine-tables.ts';
import type { AgentEvents } from './events.ts';

const EVERY_MS = 6 * 3_600_000;
/** While something is wrong, or was not looked at. */
const AGAIN_MS = 300_000;
/** What is not caught up with by then is looked at the next time. */
const CATCH_UP_WAIT_MS = 60_000;
const CATCH_UP_POLL_MS = 1000;
/** In the background a tenth of one processor; half of it while somebody waits. */
const QUIET_REST = 9;
const HURRIED_REST = 1;

type WatchOptions = {
  db: Database;
  sealer: Sealer;
  /** Of the tables in use now: what was found in other tables went with them. */
  incarnationId(): string;
  /** False while the replica still catches up: most is yet to come. */
  isCaughtUp(): boolean;
  events: AgentEvents;
  log: Log;
  signal: AbortSignal;
};

/** Knows whether this node's tables are what was applied to them: looks at its start and every six hours. */
export class TablesWatch {
  readonly #options: WatchOptions;
  #last: StoredExamination | null = null;
  #running: Promise<TablesExamination> | null = null;
  #isHurried = false;
  #documents = 0;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** What is wrong, in one line; null = nothing was found by the last look. */
  get damage(): string | null {
    if (this.#last?.incarnationId !== this.#options.incarnationId()) return null;
    return this.#last.problem;
  }

  /** Documents that the look under way has seen. */
  get progress(): number {
    return this.#documents;
  }

  async run(): Promise<void> {
    const { db, log, signal } = this.#options;
    const rest = (ms: number) => sleep(ms, undefined, { signal }).catch(() => undefined);
    // Damage is not forgotten by a restart.
    await readExamination(db).then(
      (last) => (this.#last ??= last),
      (error: unknown) => log.warn({ error: String(error) }, 'the last examination is not known'),
    );
    while (!signal.aborted) {
      const waitedFrom = performance.now();
      const mayWait = () => performance.now() - waitedFrom < CATCH_UP_WAIT_MS && !signal.aborted;
      while (!this.#options.isCaughtUp() && mayWait()) await rest(CATCH_UP_POLL_MS);
      let isWell = false;
      try {
        const isWhole = this.#options.isCaughtUp();
        isWell = (await this.#join()).problemCount === 0 && isWhole;
      } catch (error) {
        if (!signal.aborted) log.warn({ error: String(error) }, 'the tables were not examined');
      }
      await rest(isWell ? EVERY_MS : AGAIN_MS);
    }
  }

  /** Looks now, faster than in the background, or joins the look that is under way. */
  async examine(): Promise<TablesExamination> {
    this.#isHurried = true;
    return this.#join();
  }

  #join(): Promise<TablesExamination> {
    this.#running ??= this.#look().finally(() => {
      this.#running = null;
      this.#isHurried = false;
    });
    return this.#running;
  }

  async #look(): Promise<TablesExamination> {
    const { db, sealer, signal } = this.#options;
    for (;;) {
      this.#documents = 0;
      const found = await examineTables({
        db,
        sealer,
        signal,
        restFactor: () => (this.#isHurried ? HURRIED_REST : QUIET_REST),
        onProgress: (documents) => (this.#documents = documents),
      });
      if (!found) continue;
      await this.#note(found);
      return found;
    }
  }

  async #note(found: TablesExamination): Promise<void> {
    const { incarnationId, revision, problems, problemCount } = found;
    const { db, events, log } = this.#options;
    const before = this.damage;
    const more = problemCount > 1 ? ` (and ${problemCount - 1} more)` : '';
    const problem = problems.length === 0 ? null : `${problems[0]}${more}`;
    this.#last = { incarnationId, revision, problem };
    if (problem !== null && problem !== before) {
      log.warn({ revision, problems }, 'the tables do not match the digest');
      events.tablesDiffer({ revision, problem });
    }
    if (problem === null && before !== null) {
      log.info({ revision }, 'the tables match the digest again');
      events.tablesMatch({ revision });
    }
    await storeExamination(db, this.#last);
  }
}
