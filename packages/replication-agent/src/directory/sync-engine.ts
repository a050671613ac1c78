import type { Log } from '@countersign/cluster';
import {
  listApprovedPhones,
  readApplied,
  readDirectorySync,
  readSettings,
  type Database,
  type ReadSettings,
} from '@countersign/database';
import type { DirectoryConfig } from '@countersign/directory';
import type { PurposeKey } from '@countersign/keys';
import { directoryConfigOf } from '@countersign/operations';
import {
  usernameKey,
  type ChangesCursor,
  type DirectoryDocument,
  type DirectorySyncDocument,
  type Settings,
  type UserDocument,
} from '@countersign/verification';
import type { AgentEvents } from '../events.ts';
import type { Mastership } from '../mastership.ts';
import { untoldNumbers } from './approved-phones.ts';
import { basisOf } from './basis.ts';
import type { DirectoryReader } from './directory-reader.ts';
import { hasPassed } from './has-passed.ts';
import type { ImportOptions } from './import-people.ts';
import type { Wish } from './plan-slice.ts';
import { purgeLeft } from './purge-left.ts';
import { problemOf } from './problem-of.ts';
import {
  noCounts,
  runSync,
  type SyncKind,
  type SyncLine,
  type SyncProgress,
  type SyncResult,
} from './run-sync.ts';
import { limitOf, withTaken } from './safeguard.ts';
import { isWorthKeeping, nextDocument, type Finished } from './sync-document.ts';
import { tellOldNumber, type TellOptions } from './tell-old-number.ts';
import { SyncStoppedError, writeSlices, type WriterOptions } from './write-slices.ts';

export type SyncEngineOptions = {
  db: Database;
  seedKey: PurposeKey;
  baseRevision: number;
  mastership: Pick<Mastership, 'pipeline' | 'lane' | 'hasApplied' | 'rewrite'>;
  refuseChanges: WriterOptions['refuseChanges'];
  open(config: DirectoryConfig): DirectoryReader;
  events: Pick<
    AgentEvents,
    'beginDirectorySlice' | 'directoryHeld' | 'directoryFailed' | 'oldNumberTold'
  >;
  /** Sends texts to numbers that are to be replaced. */
  texts: Omit<TellOptions, 'seedKey'>;
  log: Log;
  /** Unix milliseconds. */
  now?: () => number;
};

/** So many directories are read at a time; the others wait their turn. */
const AT_ONCE = 4;
/**
 * A list of all objects tells who is gone, where changes do not. It is asked for in each run, but of a large directory
 * only so often that it takes a fiftieth of the time, and at least this often.
 */
const FIND_GONE_MS = 10 * 60_000;
const FIND_GONE_SHARE = 50;
/** More users than this that wait for an approval are looked at by reading everything. */
const HELD_REREAD_MAX = 2000;
/** Old numbers that are told in one run; the others in the next. */
const TOLD_AT_ONCE = 20;
const HELD_MAIL_MS = 3_600_000;
const PURGE_MS = 10 * 60_000;

type Wanted = { full: boolean; dryRun: boolean };

type Running = {
  kind: SyncKind;
  dryRun: boolean;
  startedAt: string;
  progress: SyncProgress;
  ended: Promise<void>;
  /** Of the directory that it reads. */
  basis: string;
  /** Nobody asked for it: it is not to go on where directories are not synchronised any more. */
  isDue: boolean;
  stop: AbortController;
};

type DryRun = {
  startedAt: string;
  endedAt: string;
  problem: string | null;
  counts: SyncProgress['counts'];
  first: SyncLine[];
};

/** What is known of a directory in one term of this master. */
type State = {
  running: Running | null;
  /** Unix ms of the last start; null: none in this term. */
  startedAt: number | null;
  wanted: Wanted | null;
  /** Newer than the one stored, where that was not worth a change; undefined: as stored. */
  cursor: ChangesCursor | null | undefined;
  /** Of this term's last one. */
  lastFullAt: number | null;
  lastGoneAt: number;
  findGoneMs: number;
  heldObjects: Set<string>;
  /** The plan administrators were told of last. */
  toldHash: string | null;
  askedAt: string | null;
  problem: string | null;
  isProblemTold: boolean;
  decidedAt: string | null;
  lastDryRun: DryRun | null;
  /** Steps that the safeguard counts, of runs that came to no end: they are kept with the next. */
  taken: number;
};

/** Synchronises all directories while this node is master: each by itself, at most four at a time. */
export class SyncEngine {
  readonly #options: SyncEngineOptions;
  readonly #now: () => number;
  readonly #states = new Map<string, State>();
  #current: ReadSettings | null = null;
  #signal: AbortSignal | null = null;
  #purgedAt = -Infinity;
  #purging: Promise<void> | null = null;

  constructor(options: SyncEngineOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** What was known here may be history. Runs end with the signal. */
  beginTerm(signal: AbortSignal): void {
    const asked = [...this.#states].filter(([, { wanted }]) => wanted !== null);
    this.#states.clear();
    // Asked for before the term was noticed.
    for (const [id, { wanted }] of asked) this.#stateOf(id).wanted = wanted;
    this.#current = null;
    this.#purgedAt = -Infinity;
    this.#signal = signal;
  }

  /** Starts what is due. To be called again and again. */
  async tend(): Promise<void> {
    if (!this.#signal || this.#signal.aborted) return;
    const { settings, directories } = await this.#readSettings();
    this.#stopOutdated(directories, settings);
    this.#purge(directories, settings);
    const due: { directory: DirectoryDocument; dueAt: number }[] = [];
    for (const directory of directories) {
      const dueAt = await this.#dueAt(directory, settings);
      if (dueAt !== null && dueAt <= this.#now()) due.push({ directory, dueAt });
    }
    due.sort((a, b) => a.dueAt - b.dueAt);
    const running = [...this.#states.values()].filter((state) => state.running).length;
    for (const { directory } of due.slice(0, Math.max(0, AT_ONCE - running))) {
      this.#start(directory, settings);
    }
  }

  #purge(directories: readonly DirectoryDocument[], settings: Settings): void {
    const nowMs = this.#now();
    if (this.#purging || !hasPassed(this.#purgedAt, PURGE_MS, nowMs)) return;
    this.#purgedAt = nowMs;
    const { mastership, log } = this.#options;
    const before = new Date(nowMs - settings.directories.removedDays * 24 * 3_600_000);
    this.#purging = purgeLeft(directories, before, { writer: this.#writer(), mastership })
      .catch((error: unknown) => {
        log.warn({ error: String(error) }, 'users who were removed long ago are kept still');
      })
      .finally(() => {
        this.#purging = null;
      });
  }

  /** What was read of a directory goes for nothing once somebody removed it, or decided otherwise about it. */
  #stopOutdated(directories: readonly DirectoryDocument[], settings: Settings): void {
    const known = new Map(directories.map((each) => [each.id, each]));
    for (const [id, state] of this.#states) {
      const { running } = state;
      const directory = known.get(id);
      if (!running) {
        if (!directory) this.#states.delete(id);
        continue;
      }
      const isSame = directory !== undefined && basisOf(directory) === running.basis;
      const isWanted = !running.isDue || (isSame && isSynchronised(directory, settings));
      if (isSame && isWanted) continue;
      running.stop.abort(new SyncStoppedError('the directory was changed or removed meanwhile'));
      // Anew, by what is decided now.
      state.startedAt = null;
      if (!running.isDue) state.wanted ??= { full: true, dryRun: running.dryRun };
    }
  }

  /** Whether it starts now; false where one runs already. */
  async ask(directory: DirectoryDocument, wanted: Wanted): Promise<boolean> {
    const state = this.#stateOf(directory.id);
    const isFree = state.running === null;
    state.wanted = wanted;
    await this.tend();
    return isFree;
  }

  /** Waits for the run that goes on, if any. */
  async untilIdle(directoryId: string): Promise<void> {
    await this.#purging;
    await this.#states.get(directoryId)?.running?.ended;
  }

  async findDirectory(name: string): Promise<DirectoryDocument | null> {
    const { directories } = await this.#readSettings();
    const key = usernameKey(name);
    return directories.find((each) => usernameKey(each.name) === key) ?? null;
  }

  /** For people who are imported by hand. */
  importing(actor: string): ImportOptions {
    const { seedKey, open } = this.#options;
    return { actor, seedKey, open, writer: this.#writer() };
  }

  /** What is told of a directory beside what stands in its documents. */
  async status(directory: DirectoryDocument) {
    const { settings } = await this.#readSettings();
    const { running, lastDryRun, problem } = this.#stateOf(directory.id);
    const dueAt = await this.#dueAt(directory, settings);
    return {
      running: running && {
        kind: running.kind,
        dryRun: running.dryRun,
        startedAt: running.startedAt,
        ...running.progress,
      },
      nextAt: dueAt === null || !Number.isFinite(dueAt) ? null : new Date(dueAt).toISOString(),
      lastDryRun,
      problem,
    };
  }

  /** A line for each directory that cannot be synchronised, or waits for an administrator. */
  problems(): string[] {
    const { settings, directories = [] } = this.#current ?? {};
    return directories.flatMap((directory) => {
      const problem = this.#states.get(directory.id)?.problem ?? null;
      const isTold = problem !== null && isSynchronised(directory, settings!);
      return isTold ? [`directory ${directory.name}: ${problem}`] : [];
    });
  }

  #writer(): WriterOptions {
    const { db, baseRevision, mastership, events, refuseChanges } = this.#options;
    const now = () => new Date(this.#now());
    return { db, baseRevision, mastership, events, refuseChanges, now };
  }

  async #readSettings(): Promise<ReadSettings> {
    const applied = await readApplied(this.#options.db);
    if (!this.#current || this.#current.revision !== applied?.settingsRevision) {
      this.#current = await readSettings(this.#options.db);
    }
    return this.#current;
  }

  #stateOf(id: string): State {
    const known = this.#states.get(id);
    if (known) return known;
    const state: State = {
      running: null,
      startedAt: null,
      wanted: null,
      cursor: undefined,
      lastFullAt: null,
      lastGoneAt: -Infinity,
      findGoneMs: 0,
      heldObjects: new Set(),
      toldHash: null,
      askedAt: null,
      problem: null,
      isProblemTold: false,
      decidedAt: null,
      lastDryRun: null,
      taken: 0,
    };
    this.#states.set(id, state);
    return state;
  }

  /** Unix ms of the next start; null: it runs now, or is not to be synchronised. */
  async #dueAt(directory: DirectoryDocument, settings: Settings): Promise<number | null> {
    const state = this.#stateOf(directory.id);
    if (state.running) return null;
    if (state.wanted) return -Infinity;
    if (!isSynchronised(directory, settings)) return null;
    if (state.startedAt === null) return this.#now();
    if (state.heldObjects.size > 0 && (await this.#isDecided(directory, state))) return -Infinity;
    // Our clock may have been put back since.
    state.startedAt = Math.min(state.startedAt, this.#now());
    return state.startedAt + directory.sync.intervalMinutes * 60_000;
  }

  /** An administrator has decided about what waits since it was last looked at. */
  async #isDecided(directory: DirectoryDocument, state: State): Promise<boolean> {
    const stored = await readDirectorySync(this.#options.db, directory.id);
    const decision = stored?.held?.decision;
    return decision?.what === 'approved' && decision.at !== state.decidedAt;
  }

  #start(directory: DirectoryDocument, settings: Settings): void {
    const state = this.#stateOf(directory.id);
    // Two may have found it due at once.
    if (state.running) return;
    const { wanted } = state;
    const progress: SyncProgress = { phase: 'connecting', done: 0, of: null, counts: noCounts() };
    const running: Running = {
      kind: 'changes',
      dryRun: wanted?.dryRun ?? false,
      startedAt: new Date(this.#now()).toISOString(),
      progress,
      ended: Promise.resolve(),
      basis: basisOf(directory),
      isDue: wanted === null,
      stop: new AbortController(),
    };
    state.running = running;
    state.wanted = null;
    if (!running.dryRun) state.startedAt = this.#now();
    running.ended = this.#run(directory, settings, {
      state,
      running,
      isFullAsked: wanted?.full ?? false,
    })
      .catch((error: unknown) => {
        const { log } = this.#options;
        log.warn({ directory: directory.name, error: String(error) }, 'a synchronisation ended');
      })
      .finally(() => {
        state.running = null;
      });
  }

  async #run(
    directory: DirectoryDocument,
    settings: Settings,
    { state, running, isFullAsked }: { state: State; running: Running; isFullAsked: boolean },
  ): Promise<void> {
    const signal = AbortSignal.any([this.#signal!, running.stop.signal]);
    const sync = await readDirectorySync(this.#options.db, directory.id);
    state.decidedAt = sync?.held?.decision?.at ?? null;
    const finished: Omit<Finished, 'kind' | 'taken' | 'result' | 'problem'> = {
      startedAt: running.startedAt,
      counts: running.progress.counts,
      basis: running.basis,
    };
    try {
      running.kind = this.#kindOf(directory, { sync, state, isFullAsked });
      const result = await this.#readAndWrite(directory, settings, {
        sync,
        state,
        running,
        signal,
      });
      if (running.dryRun) return this.#keepDryRun(state, running, { problem: null, result });
      await this.#settle(
        directory,
        {
          state,
          signal,
          finished: { ...finished, kind: running.kind, taken: state.taken, result, problem: null },
        },
        settings,
      );
    } catch (error) {
      if (!signal.aborted && error instanceof SyncStoppedError) state.problem = error.message;
      if (signal.aborted || error instanceof SyncStoppedError) throw error;
      const problem = problemOf(error);
      if (running.dryRun) return this.#keepDryRun(state, running, { problem, result: null });
      await this.#settle(
        directory,
        {
          state,
          signal,
          finished: { ...finished, kind: running.kind, taken: state.taken, result: null, problem },
        },
        settings,
      );
    }
  }

  #kindOf(
    directory: DirectoryDocument,
    {
      sync,
      state,
      isFullAsked,
    }: {
      sync: DirectorySyncDocument | null;
      state: State;
      isFullAsked: boolean;
    },
  ): SyncKind {
    const cursor = state.cursor === undefined ? (sync?.cursor ?? null) : state.cursor;
    const lastFullAt = Math.max(Date.parse(sync?.lastFullAt ?? '') || 0, state.lastFullAt ?? 0);
    const isOld = hasPassed(lastFullAt, directory.sync.fullHours * 3_600_000, this.#now());
    // Who waits is not known to a new master.
    const hasLostHeld = sync?.held != null && state.heldObjects.size === 0;
    const isTooMany = state.heldObjects.size > HELD_REREAD_MAX;
    const isAnew = sync?.basis !== basisOf(directory) || cursor === null;
    const isFull = directory.sync.changes === 'full' || isFullAsked;
    return isFull || isAnew || isOld || hasLostHeld || isTooMany ? 'full' : 'changes';
  }

  async #readAndWrite(
    directory: DirectoryDocument,
    settings: Settings,
    {
      sync,
      state,
      running,
      signal,
    }: {
      sync: DirectorySyncDocument | null;
      state: State;
      running: Running;
      signal: AbortSignal;
    },
  ): Promise<Extract<SyncResult, { kind: 'done' }>> {
    const { seedKey, log } = this.#options;
    const writer = this.#writer();
    await using reader = this.#options.open(directoryConfigOf(directory, seedKey));
    const cursor = state.cursor === undefined ? (sync?.cursor ?? null) : state.cursor;
    const pauseMs = Math.min(state.findGoneMs * FIND_GONE_SHARE, FIND_GONE_MS);
    const findsGone = hasPassed(state.lastGoneAt, pauseMs, this.#now());
    const input = {
      ...{ directory, reader, sync, settings, signal, cursor, findsGone },
      isDryRun: running.dryRun,
      taken: withTaken(sync?.taken ?? [], state.taken, new Date(this.#now())),
      onTaken: (count: number) => {
        state.taken += count;
      },
      heldObjects: state.heldObjects,
      progress: running.progress,
    };
    let result = await runSync({ ...input, kind: running.kind }, writer);
    if (result.kind === 'full needed') {
      log.info({ directory: directory.name, why: result.why }, 'everything is read');
      running.kind = 'full';
      result = await runSync({ ...input, kind: 'full', cursorAfter: result.cursor }, writer);
    }
    if (result.kind === 'full needed') throw new Error(result.why);
    if (findsGone && !running.dryRun) {
      state.lastGoneAt = this.#now();
      state.findGoneMs = result.findGoneMs;
      await this.#tellOldNumbers(directory, settings, signal);
    }
    return result;
  }

  /** Sent before it is noted: a text that comes twice does less harm than none. */
  async #tellOldNumbers(
    directory: DirectoryDocument,
    settings: Settings,
    signal: AbortSignal,
  ): Promise<void> {
    const { db, events } = this.#options;
    const users = await listApprovedPhones(db, directory.id, new Date(this.#now()));
    const untold = users.filter((user) => untoldNumbers(user).length > 0).slice(0, TOLD_AT_ONCE);
    const told: Wish[] = [];
    for (const user of untold) {
      signal.throwIfAborted();
      const outcomes: string[] = [];
      for (const numbers of untoldNumbers(user)) {
        const outcome = await this.#tellOldNumber(user, numbers, settings);
        events.oldNumberTold({ userId: user.id, username: user.username, outcome });
        outcomes.push(outcome);
      }
      if (outcomes.includes('failed')) continue;
      told.push({ kind: 'old told', object: user.directory!.object });
    }
    const about = { directory, actor: `directory ${directory.name}`, isFinal: false };
    await writeSlices(told, { ...about, allowsRisk: false }, this.#writer());
  }

  async #tellOldNumber(
    user: UserDocument,
    numbers: { from: string; to: string },
    settings: Settings,
  ): Promise<'sent' | 'failed' | 'nobody'> {
    const { seedKey, texts, log } = this.#options;
    try {
      return await tellOldNumber(user, numbers, settings, { seedKey, ...texts });
    } catch (error) {
      // What it says may hold secrets.
      const name = error instanceof Error ? error.name : 'error';
      log.warn({ error: name }, 'a number that is to be replaced was not told');
      return 'failed';
    }
  }

  #keepDryRun(
    state: State,
    running: Running,
    {
      problem,
      result,
    }: {
      problem: string | null;
      result: Extract<SyncResult, { kind: 'done' }> | null;
    },
  ): void {
    state.lastDryRun = {
      startedAt: running.startedAt,
      endedAt: new Date(this.#now()).toISOString(),
      problem,
      counts: running.progress.counts,
      first: result?.lines ?? [],
    };
  }

  /** Keeps the place for whoever is master next, where there is something to keep. */
  async #settle(
    directory: DirectoryDocument,
    { state, signal, finished }: { state: State; signal: AbortSignal; finished: Finished },
    settings: Settings,
  ): Promise<void> {
    const { db, mastership, events } = this.#options;
    const { result, problem, kind } = finished;
    const nowMs = this.#now();
    if (result) {
      state.cursor = result.cursor;
      state.heldObjects = result.held?.objects ?? new Set();
      if (kind === 'full') state.lastFullAt = nowMs;
    }
    const isNewProblem = problem !== null && problem !== state.problem;
    state.problem = problem ?? (result?.held ? heldLine(result.held.steps.length) : null);
    let askedAt: string | null = null;
    const isKept = await mastership.rewrite({
      kind: 'directory-sync',
      id: directory.id,
      touches: [`directory-sync ${directory.id}`],
      make: async () => {
        signal.throwIfAborted();
        const stored = await readDirectorySync(db, directory.id);
        state.toldHash ??= stored?.held?.hash ?? null;
        const next = nextDocument(stored, directory.id, finished, new Date(nowMs));
        if (next.held && !next.held.decision && next.held.hash !== state.toldHash) {
          const last = stored?.held?.at ?? state.askedAt;
          const isTime = last === null || hasPassed(Date.parse(last), HELD_MAIL_MS, nowMs);
          const at = isTime ? new Date(nowMs).toISOString() : last;
          next.held = { ...next.held, at };
          if (isTime) askedAt = at;
        }
        return finished.taken > 0 || isWorthKeeping(stored, next, nowMs) ? next : null;
      },
    });
    if (!isKept) return;
    state.taken -= finished.taken;
    if (isNewProblem) events.directoryFailed({ directory: directory.name, problem });
    if (askedAt !== null && result?.held) {
      const { hash, steps, of } = result.held;
      state.toldHash = hash;
      state.askedAt = askedAt;
      const limit = limitOf(of, settings.directories);
      events.directoryHeld({ directory: directory.name, hash, count: steps.length, of, limit });
    }
  }
}

function isSynchronised(directory: DirectoryDocument, settings: Settings): boolean {
  return directory.sync.enabled && settings.directories.sync;
}

function heldLine(count: number): string {
  return `${count} users to be disabled, removed or given another phone wait for an approval`;
}
