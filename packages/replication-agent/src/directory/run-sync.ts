import { dnKey, type ChangesCursor, type Person, type RefusedPerson } from '@countersign/directory';
import {
  countDirectoryUsers,
  findUsersByObject,
  listApprovedPhones,
  listDirectoryUsers,
} from '@countersign/database';
import type {
  DirectoryDocument,
  DirectorySyncDocument,
  Settings,
  SyncCounts,
  UserDocument,
} from '@countersign/verification';
import { PHONE_HOLD_MS } from './approved-phones.ts';
import type { DirectoryReader } from './directory-reader.ts';
import { BY_HAND } from './merge-person.ts';
import {
  checkContainers,
  itemOf,
  placeItems,
  UnusableAnswerError,
  type Placed,
} from './place-items.ts';
import { planSlice, type PlannedChange, type SlicePlan, type Wish } from './plan-slice.ts';
import { hashOfSteps, judgeSteps, type RiskyStep } from './safeguard.ts';
import { writeSlices, type WriterOptions } from './write-slices.ts';

export type SyncKind = 'full' | 'changes';

export type SyncInput = {
  directory: DirectoryDocument;
  reader: DirectoryReader;
  kind: SyncKind;
  /** Nothing is written. */
  isDryRun: boolean;
  /** Where the changes are read from; null: everything is read. */
  cursor: ChangesCursor | null;
  /** Where changes are read from after everything was: taken already. */
  cursorAfter?: ChangesCursor | undefined;
  /** Whose steps wait for an approval: they are looked at again in each run. */
  heldObjects: ReadonlySet<string>;
  /** Objects that are gone are looked for too, where changes do not tell of them. */
  findsGone: boolean;
  sync: DirectorySyncDocument | null;
  /** Steps that the safeguard counts still. */
  taken: DirectorySyncDocument['taken'];
  /** Told of such steps as they are sent, however the run ends. */
  onTaken(count: number): void;
  settings: Settings;
  signal: AbortSignal;
  progress: SyncProgress;
};

/** What is told of a run while it goes on. */
export type SyncProgress = {
  phase: 'connecting' | 'reading' | 'people who are gone' | 'approvals' | 'finishing';
  done: number;
  of: number | null;
  counts: SyncCounts;
};

export type SyncLine = { username: string; what: string; why: string | null };

export type SyncResult =
  /** The directory cannot tell its changes from there on. */
  | { kind: 'full needed'; why: string; cursor?: ChangesCursor }
  | {
      kind: 'done';
      cursor: ChangesCursor | null;
      /** Changes that stand in the log. */
      written: number;
      held: {
        hash: string;
        isNew: boolean;
        steps: RiskyStep[];
        objects: Set<string>;
        of: number;
      } | null;
      /** What it took to look for objects that are gone; 0: they were not looked for. */
      findGoneMs: number;
      counts: SyncCounts;
      /** The first of what was done, or would be. */
      lines: SyncLine[];
    };

export const SYNC_LINES_MAX = 200;
const READ_AT_ONCE = 500;

export function noCounts(): SyncCounts {
  const zero = { people: 0, added: 0, changed: 0, disabled: 0, removed: 0 };
  return { ...zero, kept: 0, held: 0, refused: 0 };
}

/** Reads what is to be read of a directory and brings its users up to that. */
export async function runSync(input: SyncInput, options: WriterOptions): Promise<SyncResult> {
  await checkContainers(input.directory, input.reader);
  const run = new SyncRun(input, options);
  return input.kind === 'full' ? run.readAll() : run.readChanges(input.cursor!);
}

class SyncRun {
  readonly #input: SyncInput;
  readonly #options: WriterOptions;
  readonly #counts: SyncCounts;
  readonly #lines: SyncLine[] = [];
  readonly #risky = new Map<string, RiskyStep>();
  readonly #late = new Set<string>();
  readonly #claimed = new Set<string>();
  #written = 0;
  #findGoneMs = 0;

  constructor(input: SyncInput, options: WriterOptions) {
    this.#input = input;
    this.#options = options;
    this.#counts = input.progress.counts;
  }

  async readAll(): Promise<SyncResult> {
    const { directory, reader, signal, progress } = this.#input;
    // Taken before anything is read: what changes meanwhile is read again.
    const start = await this.#placeOfNow();
    const placed = await placeItems(directory, reader);
    progress.phase = 'reading';
    const users = await countDirectoryUsers(this.#options.db, directory.id);
    if (users > 0) progress.of = users;
    const seen = new Set<string>();
    const pages = reader.readPeople(signal, (refused) => {
      if (refused.object !== null) seen.add(refused.object);
      this.#refuse(refused);
    });
    for await (const page of pages) {
      this.#stopIfOver();
      await this.#take(page, placed);
      for (const { object } of page) seen.add(object);
      progress.done += page.length;
    }
    if (seen.size === 0 && users > 0) throw nobody(users);
    progress.phase = 'people who are gone';
    await this.#takeUnseen(seen, placed);
    return this.#conclude(placed, start);
  }

  async #placeOfNow(): Promise<ChangesCursor | null> {
    const { directory, reader, cursorAfter } = this.#input;
    if (cursorAfter) return cursorAfter;
    if (directory.sync.changes === 'full') return null;
    const changes = await reader.readChanges(null);
    return changes.kind === 'changes' ? changes.cursor : null;
  }

  async readChanges(from: ChangesCursor): Promise<SyncResult> {
    const { directory, reader, heldObjects, findsGone, progress } = this.#input;
    const changes = await reader.readChanges(from);
    if (changes.kind === 'full needed') return changes;
    const { cursor, haveGroupsChanged } = changes;
    const hasGroups = directory.items.some(({ scope }) => scope.kind === 'group');
    const objects = new Set([...changes.changed, ...changes.gone, ...heldObjects]);
    if (findsGone && !changes.areRemovalsTold) {
      for (const object of await this.#findMissing()) objects.add(object);
    }
    const readsGroups = haveGroupsChanged && hasGroups;
    if (objects.size === 0 && !readsGroups) return this.#conclude(null, cursor);
    const placed = await placeItems(directory, reader);
    progress.phase = 'reading';
    if (readsGroups) {
      for (const object of await this.#findMoved(placed)) objects.add(object);
    }
    progress.of = objects.size;
    await this.#reread([...objects], placed);
    return this.#conclude(placed, cursor);
  }

  /** Known objects that the directory does not list any more, or lists elsewhere. */
  async #findMissing(): Promise<string[]> {
    const { reader, signal } = this.#input;
    const startedAt = performance.now();
    const listed = await reader.listObjects(signal);
    const missing: string[] = [];
    let users = 0;
    for await (const page of this.#usersHere()) {
      users += page.length;
      for (const user of page) {
        const link = user.directory!;
        if (link.goneAt === undefined && !listed.has(link.object)) missing.push(link.object);
      }
    }
    if (listed.size === 0 && users > 0) throw nobody(users);
    this.#findGoneMs = performance.now() - startedAt;
    return missing;
  }

  /** Objects of those who are in another item now than they came by, and of new members of groups. */
  async #findMoved(placed: readonly Placed[]): Promise<string[]> {
    const { reader } = this.#input;
    const moved: string[] = [];
    const known = new Set<string>();
    for await (const page of this.#usersHere()) {
      for (const { directory: link } of page) {
        const key = dnKey(link!.dn);
        known.add(key);
        const item = itemOf({ dnKey: key }, placed)?.id ?? null;
        const stays = link!.goneAt === undefined ? item === link!.item : item === null;
        if (!stays) moved.push(link!.object);
      }
    }
    const unknown = placed
      .flatMap((each) => (each.kind === 'group' ? [...each.members] : []))
      .filter((key) => !known.has(key));
    for (const batch of batchesOf([...new Set(unknown)])) {
      for (const { object } of await reader.readByDns(batch)) moved.push(object);
    }
    return moved;
  }

  async #takeUnseen(seen: ReadonlySet<string>, placed: readonly Placed[]): Promise<void> {
    let missing: string[] = [];
    for await (const page of this.#usersHere()) {
      const unseen = page.filter(({ directory: link }) => !seen.has(link!.object));
      // Those who are gone already may have to go further: their item says something else now.
      missing.push(...unseen.map(({ directory: link }) => link!.object));
      if (missing.length < READ_AT_ONCE) continue;
      await this.#reread(missing, placed);
      missing = [];
    }
    await this.#reread(missing, placed);
  }

  /** Asked for by themselves: an answer that left somebody out by mistake takes nobody away. */
  async #reread(objects: readonly string[], placed: readonly Placed[]): Promise<void> {
    for (const batch of batchesOf(objects)) {
      this.#stopIfOver();
      const { people, isGone } = await this.#readByObjects(batch);
      await this.#take(people, placed);
      const gone = batch.filter(isGone);
      await this.#carryOut(gone.map((object) => ({ kind: 'gone', object })));
      if (this.#input.kind === 'changes') this.#input.progress.done += batch.length;
    }
  }

  /** Who is there and cannot be taken over is not gone. */
  async #readByObjects(
    objects: readonly string[],
  ): Promise<{ people: Person[]; isGone(object: string): boolean }> {
    const present = new Set<string>();
    const people = await this.#input.reader.readByObjects(objects, (refused) => {
      if (refused.object !== null) present.add(refused.object);
      this.#refuse(refused);
    });
    const isGone = (object: string) => !people.has(object) && !present.has(object);
    return { people: [...people.values()], isGone };
  }

  #refuse({ dn, refused }: RefusedPerson): void {
    this.#counts.refused += 1;
    this.#line(dn, 'refused', refused);
  }

  async #take(people: readonly Person[], placed: readonly Placed[]): Promise<void> {
    this.#counts.people += people.length;
    await this.#carryOut(await this.#wishesOf(people, placed, false));
  }

  async #wishesOf(
    people: readonly Person[],
    placed: readonly Placed[],
    isHeld: boolean,
  ): Promise<Wish[]> {
    const users = await this.#usersOf(people.map(({ object }) => object));
    return people.flatMap((person): Wish[] => {
      const { object } = person;
      const user = users.get(object);
      const item = itemOf(person, placed);
      if (item) return [{ kind: 'person', object, person, item, treatment: item, isHeld }];
      if (!user) return [];
      if (user.directory!.item !== null) return [{ kind: 'gone', object }];
      return [{ kind: 'person', object, person, item: null, treatment: BY_HAND, isHeld }];
    });
  }

  /** Does what needs no approval now, and keeps the rest for the end of the run. */
  async #carryOut(wishes: Wish[]): Promise<void> {
    if (wishes.length === 0) return;
    const plan = await this.#plan(wishes, false);
    const risky = new Set<string>();
    for (const { object, risk, before, after } of plan.changes) {
      if (!risk || !before) continue;
      risky.add(object);
      const step = { userId: before.id, username: before.username, what: risk };
      this.#risky.set(object, risk === 'phone' ? { ...step, numbers: numbersOf(after!) } : step);
    }
    // Only what differs takes a turn; what a slice comes to is decided in it.
    const objects = new Set([...plan.changes, ...plan.again].map(({ object }) => object));
    for (const object of risky) objects.delete(object);
    this.#note(plan, false, risky);
    for (const { object } of plan.late) this.#late.add(object);
    const open = wishes.filter(({ object }) => objects.has(object));
    await this.#write(
      open.map((wish) => (wish.kind === 'person' ? { ...wish, isHeld: true } : wish)),
      { isFinal: false, allowsRisk: false },
    );
  }

  async #plan(wishes: Wish[], isFinal: boolean): Promise<SlicePlan> {
    const { db, now } = this.#options;
    const { directory, isDryRun } = this.#input;
    const claimed = isDryRun ? this.#claimed : new Set<string>();
    const rules = { isFinal, allowsRisk: true };
    return planSlice(wishes, { db, directory, ...rules, claimed, now: now() });
  }

  async #write(wishes: Wish[], rules: { isFinal: boolean; allowsRisk: boolean }): Promise<void> {
    const { directory, isDryRun, onTaken } = this.#input;
    if (wishes.length === 0 || isDryRun) return;
    this.#stopIfOver();
    const actor = `directory ${directory.name}`;
    const written = await writeSlices(
      wishes,
      { directory, actor, onTaken, ...rules },
      this.#options,
    );
    this.#note(written, true);
    for (const { object } of written.late) this.#late.add(object);
    this.#written += written.changes.length;
  }

  /** Counts what was done, or in a dry run what would be. */
  #note(
    { changes, refused }: Pick<SlicePlan, 'changes' | 'refused'>,
    isWritten: boolean,
    except: ReadonlySet<string> = new Set(),
  ): void {
    const { isDryRun } = this.#input;
    if (isWritten || isDryRun) {
      for (const change of changes) if (!except.has(change.object)) this.#noteChange(change);
    }
    // A plan that refuses is not written.
    this.#counts.refused += refused.length;
    for (const { object, why } of refused) this.#line(object, 'refused', why);
  }

  #noteChange({ effect, before, after }: PlannedChange): void {
    if (effect === 'none' || effect === 'purged') return;
    this.#counts[effect] += 1;
    this.#line((after ?? before)!.username, effect, null);
  }

  #line(username: string, what: string, why: string | null): void {
    if (this.#lines.length < SYNC_LINES_MAX) this.#lines.push({ username, what, why });
  }

  async #conclude(
    placed: readonly Placed[] | null,
    cursor: ChangesCursor | null,
  ): Promise<SyncResult> {
    const { progress } = this.#input;
    progress.phase = 'approvals';
    const held = placed ? await this.#settleRisky(placed) : null;
    progress.phase = 'finishing';
    if (placed) await this.#settleLate(placed);
    await this.#replacePhones();
    return {
      kind: 'done',
      cursor,
      written: this.#written,
      held,
      findGoneMs: this.#findGoneMs,
      counts: this.#counts,
      lines: this.#lines,
    };
  }

  /** All of what an administrator may have to approve, or none of it. */
  async #settleRisky(placed: readonly Placed[]) {
    const { directory, reader, sync, taken, settings, isDryRun } = this.#input;
    const { db, now } = this.#options;
    if (this.#risky.size === 0) return null;
    // One may have been renamed or moved while people were read.
    await checkContainers(directory, reader);
    const steps = [...this.#risky.values()];
    const users = await countDirectoryUsers(db, directory.id);
    const held = sync?.held ?? null;
    const limits = settings.directories;
    const judged = judgeSteps({ steps, taken, users, held, limits, now: now() });
    const isHeld = judged.kind === 'hold';
    if (isHeld) this.#counts.held += steps.length;
    if (isDryRun) {
      for (const { username, what } of steps) {
        this.#line(username, what, isHeld ? 'waits for an approval' : null);
        if (!isHeld && what !== 'phone')
          this.#counts[what === 'disable' ? 'disabled' : 'removed'] += 1;
        if (!isHeld && what === 'phone') this.#counts.changed += 1;
      }
    } else {
      const allowed = new Set(this.#risky.keys());
      for (const batch of batchesOf([...allowed])) await this.#settleBatch(batch, placed, isHeld);
    }
    if (!isHeld) return null;
    const objects = new Set(this.#risky.keys());
    return { hash: hashOfSteps(steps), isNew: judged.isNew, steps, objects, of: users };
  }

  async #settleBatch(
    batch: readonly string[],
    placed: readonly Placed[],
    isHeld: boolean,
  ): Promise<void> {
    const { people, isGone } = await this.#readByObjects(batch);
    const wishes = await this.#wishesOf(people, placed, isHeld);
    const gone: Wish[] = batch.filter(isGone).map((object) => ({ kind: 'gone', object }));
    const all = [...wishes, ...gone];
    await this.#write(all, { isFinal: false, allowsRisk: !isHeld });
  }

  /** Names that are free by now, or else the next best. */
  async #settleLate(placed: readonly Placed[]): Promise<void> {
    const late = [...this.#late].filter(
      (object) => !this.#risky.has(object) || this.#input.isDryRun,
    );
    for (const batch of batchesOf(late)) {
      const { people } = await this.#readByObjects(batch);
      const wishes = await this.#wishesOf(people, placed, true);
      if (this.#input.isDryRun) this.#note(await this.#plan(wishes, true), false);
      else await this.#write(wishes, { isFinal: true, allowsRisk: false });
    }
  }

  /** Numbers whose 24 hours are over. */
  async #replacePhones(): Promise<void> {
    const { directory, isDryRun, findsGone } = this.#input;
    if (isDryRun || !findsGone) return;
    const { db, now } = this.#options;
    const dayAgo = new Date(now().getTime() - PHONE_HOLD_MS);
    const approved = await listApprovedPhones(db, directory.id, dayAgo);
    const wishes = approved.map((user): Wish => {
      return { kind: 'approved phones', object: user.directory!.object };
    });
    await this.#write(wishes, { isFinal: false, allowsRisk: true });
  }

  async #usersOf(objects: string[]): Promise<Map<string, UserDocument>> {
    const found = await findUsersByObject(this.#options.db, this.#input.directory.id, objects);
    return new Map(found.map((user) => [user.directory!.object, user]));
  }

  /** Without those that are removed. */
  async *#usersHere(): AsyncIterable<UserDocument[]> {
    const { db } = this.#options;
    let afterId: string | undefined;
    for (;;) {
      this.#stopIfOver();
      const page = { afterId, limit: READ_AT_ONCE };
      const users = await listDirectoryUsers(db, this.#input.directory.id, page);
      yield users.filter(({ removedAt }) => removedAt === undefined);
      if (users.length < READ_AT_ONCE) return;
      afterId = users.at(-1)!.id;
    }
  }

  #stopIfOver(): void {
    this.#input.signal.throwIfAborted();
  }
}

function nobody(users: number): UnusableAnswerError {
  return new UnusableAnswerError(
    `the directory gave nobody, and ${users} of its users are known here: nobody was disabled or removed`,
  );
}

function numbersOf({ authenticators }: UserDocument): string[] {
  return authenticators.flatMap((one) => (one.type === 'phone' ? one.number : [])).toSorted();
}

function batchesOf<T>(all: readonly T[]): T[][] {
  const batches: T[][] = [];
  for (let from = 0; from < all.length; from += READ_AT_ONCE) {
    batches.push(all.slice(from, from + READ_AT_ONCE));
  }
  return batches;
}
