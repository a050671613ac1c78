import { isDeepStrictEqual } from 'node:util';
import {
  ProblemError,
  type DirectoryPorts,
  type DirectoryTestReport,
  type PersonPreview,
  type SignInCheck,
  type StoredDirectory,
} from '@countersign/api';
import {
  beginAttempts,
  findTakenKeys,
  findUsersByObject,
  listDirectoriesWithSync,
  listUsersWithPendingPhones,
  tryAdvisoryLock,
  type AdvisoryLock,
  type Database,
} from '@countersign/database';
import {
  chooseItem,
  Directory,
  DirectoryError,
  dnKey,
  type DirectoryConfig,
  type Person,
  type PlacedItem,
  type SignIn,
} from '@countersign/directory';
import { KeyError, type PurposeKey } from '@countersign/keys';
import {
  escapeUntrusted,
  PHONE_KINDS,
  usernameKey,
  type DirectoryDocument,
  type NewDirectory,
  type SyncItem,
  type UserDocument,
} from '@countersign/verification';
import { newEvent } from './new-event.ts';
import { completeDirectory, flawOfDirectory } from './complete-directory.ts';
import { configOf, directoryConfigOf } from './directory-config.ts';

/** For one answer of ours, whatever a directory's own deadlines add up to. */
const DEADLINE_MS = 25_000;
const AT_ONCE_MAX = 8;
const MEMBERS_KEPT_MS = 60_000;
const CHECKS_PER_MINUTE = 20;
const SAID_MAX = 200;
const LISTED_MAX = 20;

type Log = NonNullable<ConstructorParameters<typeof Directory>[1]>['log'];

/** A directory as one state of its document describes it. */
type Opened = {
  document: DirectoryDocument;
  directory: Directory;
  uses: number;
  isLeft: boolean;
  /** By the DN of the group. */
  members: Map<string, Promise<Set<string>>>;
};

/**
 * Reads directories for whoever looks at them: one connected {@link Directory} for each document, closed once that
 * changed and nobody uses it any more.
 */
export class OpenDirectories implements DirectoryPorts, AsyncDisposable {
  readonly #db: Database;
  readonly #node: string;
  readonly #seedKey: PurposeKey;
  readonly #log: Log;
  readonly #opened = new Map<string, Opened>();
  #running = 0;
  #checks: number[] = [];

  constructor(options: { db: Database; node: string; seedKey: PurposeKey; log?: Log }) {
    this.#db = options.db;
    this.#node = options.node;
    this.#seedKey = options.seedKey;
    this.#log = options.log;
  }

  async list(): Promise<StoredDirectory[]> {
    const all = await listDirectoriesWithSync(this.#db);
    const ids = new Set(all.map(({ document }) => document.id));
    for (const [id, opened] of this.#opened) if (!ids.has(id)) this.#leave(id, opened);
    return all;
  }

  /** One at a time on this node: nobody gets a port scanner out of it. */
  async test(which: DirectoryDocument | NewDirectory): Promise<DirectoryTestReport> {
    const config = 'id' in which ? this.#configOf(which) : unsavedConfigOf(which);
    const lock = await tryAdvisoryLock(this.#db, 'directory test');
    if (!lock) throw new ProblemError(409, 'busy', 'This node tests another directory just now.');
    return shortened(await this.#bounded(this.#testHolding(lock, config)));
  }

  listContainers(document: DirectoryDocument, under: string | null) {
    return this.#use(document, ({ directory }) => directory.listContainers(under));
  }

  listGroups(document: DirectoryDocument, text: string) {
    return this.#use(document, ({ directory }) => directory.listGroups(text));
  }

  previewPeople(
    document: DirectoryDocument,
    search: { text?: string; under?: string; limit: number },
  ): Promise<{ people: PersonPreview[]; isMore: boolean }> {
    return this.#use(document, async (opened) => {
      const { people, isMore } = await opened.directory.search(search);
      const items = people.length > 0 ? await placeItems(opened, document.items) : [];
      return { people: await this.#previewsOf(document, people, items), isMore };
    });
  }

  /** A wrong password counts at the directory: who asks is held back well before anybody is locked out at large. */
  async checkSignIn(
    document: DirectoryDocument,
    who: { username: string; password: string; actor: string },
  ): Promise<SignInCheck> {
    const now = performance.now();
    this.#checks = this.#checks.filter((at) => now - at < 60_000);
    if (this.#checks.length >= CHECKS_PER_MINUTE) {
      const detail = `At most ${CHECKS_PER_MINUTE} passwords a minute are tried here.`;
      throw new ProblemError(429, 'too_many_checks', detail);
    }
    this.#checks.push(now);
    const outcome = await this.#use(document, ({ directory }) =>
      directory.signIn({ name: who.username }, who.password),
    );
    const told = await this.#toldOf(document, outcome);
    // The name that was typed may be a password: only what it turned out to be is kept.
    const event = newEvent({
      type: 'directory.check',
      node: this.#node,
      actor: who.actor,
      username: told.outcome === 'accepted' ? told.user : null,
      result: told.outcome,
      reason: told.outcome === 'refused' ? told.reason : null,
      details: { directory: document.name },
    });
    await beginAttempts(this.#db, [{ reservation: null, event, isFinal: true }]);
    return told;
  }

  async #toldOf(document: DirectoryDocument, outcome: SignIn): Promise<SignInCheck> {
    if (outcome.kind === 'refused') return { outcome: 'refused', reason: outcome.reason };
    if (outcome.kind === 'unavailable') {
      return { outcome: 'unavailable', problem: escapeUntrusted(outcome.problem, SAID_MAX) };
    }
    const { object, dn } = outcome;
    const users = await findUsersByObject(this.#db, document.id, [object]);
    const user = users.find(({ removedAt }) => removedAt === undefined)?.username ?? null;
    return { outcome: 'accepted', object, dn, user };
  }

  /** Whom a name means there, for their first factor. Ends within 4 s. */
  resolve(document: DirectoryDocument, name: string) {
    return this.#answered(document, (directory) => directory.resolve(name));
  }

  /**
   * Somebody's first factor. The directory's own pool bounds how many are under way, not those who look around. Ends
   * within 10 s.
   */
  signIn(
    document: DirectoryDocument,
    who: { name: string } | { object: string },
    password: string,
  ): Promise<SignIn> {
    return this.#answered(document, (directory) => directory.signIn(who, password));
  }

  async #answered<T>(
    document: DirectoryDocument,
    ask: (directory: Directory) => Promise<T>,
  ): Promise<T | { kind: 'unavailable'; problem: string }> {
    try {
      return await this.#held(document, ({ directory }) => ask(directory));
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      return { kind: 'unavailable', problem };
    }
  }

  listPendingPhones(limit: number): Promise<UserDocument[]> {
    return listUsersWithPendingPhones(this.#db, limit);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#opened.values()];
    this.#opened.clear();
    await Promise.all(all.map(({ directory }) => directory[Symbol.asyncDispose]()));
  }

  async #use<T>(document: DirectoryDocument, work: (opened: Opened) => Promise<T>): Promise<T> {
    if (this.#running >= AT_ONCE_MAX) {
      throw new ProblemError(503, 'busy', 'This node reads directories for others just now.');
    }
    // What was given up waiting for still uses it.
    return this.#bounded(this.#counted(this.#held(document, work)));
  }

  async #held<T>(document: DirectoryDocument, work: (opened: Opened) => Promise<T>): Promise<T> {
    const opened = this.#open(document);
    opened.uses += 1;
    try {
      return await work(opened);
    } finally {
      opened.uses -= 1;
      this.#closeIfLeft(opened);
    }
  }

  #open(document: DirectoryDocument): Opened {
    const { id } = document;
    const known = this.#opened.get(id);
    if (known && isDeepStrictEqual(known.document, document)) return known;
    const directory = new Directory(this.#configOf(document), this.#options());
    if (known) this.#leave(id, known);
    const opened = { document, directory, uses: 0, isLeft: false, members: new Map() };
    this.#opened.set(id, opened);
    return opened;
  }

  #leave(id: string, opened: Opened): void {
    this.#opened.delete(id);
    opened.isLeft = true;
    this.#closeIfLeft(opened);
  }

  #closeIfLeft({ isLeft, uses, directory }: Opened): void {
    if (isLeft && uses === 0) void directory[Symbol.asyncDispose]().catch(() => undefined);
  }

  /** Whoever asked may be gone by then: the next test waits for the end of this one all the same. */
  async #testHolding(lock: AdvisoryLock, config: DirectoryConfig): Promise<DirectoryTestReport> {
    try {
      await using directory = new Directory(config, this.#options());
      return await directory.test();
    } finally {
      await lock.release();
    }
  }

  async #counted<T>(work: Promise<T>): Promise<T> {
    this.#running += 1;
    try {
      return await work;
    } finally {
      this.#running -= 1;
    }
  }

  async #bounded<T>(work: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const detail = `The directory did not answer within ${DEADLINE_MS / 1000} s.`;
    const timer = setTimeout(
      () => late.reject(new ProblemError(504, 'directory_slow', detail)),
      DEADLINE_MS,
    );
    try {
      return await Promise.race([work, late.promise]);
    } catch (error) {
      throw toldOf(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #configOf(document: DirectoryDocument): DirectoryConfig {
    try {
      return directoryConfigOf(document, this.#seedKey);
    } catch (error) {
      if (!(error instanceof KeyError)) throw error;
      const detail = 'Its password cannot be opened: set it again.';
      throw new ProblemError(409, 'secret_required', detail, { cause: error });
    }
  }

  #options() {
    return this.#log === undefined ? {} : { log: this.#log };
  }

  async #previewsOf(
    document: DirectoryDocument,
    people: Person[],
    items: (PlacedItem & { name: string })[],
  ): Promise<PersonPreview[]> {
    const objects = people.map(({ object }) => object);
    const names = people.flatMap(({ usernames }) => usernames.map(usernameKey));
    const [users, taken] = await Promise.all([
      findUsersByObject(this.#db, document.id, objects),
      findTakenKeys(this.#db, names),
    ]);
    const byObject = new Map(
      users
        .filter(({ removedAt }) => removedAt === undefined)
        .map((user) => [user.directory!.object, user.username]),
    );
    return people.map((person) => {
      const user = byObject.get(person.object) ?? null;
      const free = person.usernames.find((name) => !taken.has(usernameKey(name)));
      return previewOf(person, { item: chooseItem(person, items)?.name ?? null, user, free });
    });
  }
}

function previewOf(
  person: Person,
  found: { item: string | null; user: string | null; free: string | undefined },
): PersonPreview {
  const { object, dn, usernames, mails, phones, dropped } = person;
  const { firstName, lastName, displayName, description, language, isDisabled } = person;
  const problem =
    usernames.length === 0
      ? 'nothing in the directory could be the username'
      : `somebody else is called ${usernames.join(' and ')} already`;
  return {
    object,
    dn,
    username: found.user ?? found.free ?? usernames[0] ?? null,
    firstName,
    lastName,
    displayName,
    mail: mails[0] ?? null,
    description,
    language,
    phones: PHONE_KINDS.flatMap((kind) => {
      const phone = phones[kind];
      return phone ? [{ kind, ...phone }] : [];
    }),
    isDisabled,
    item: found.item,
    user: found.user,
    problem: found.user === null && found.free === undefined ? problem : null,
    dropped,
  };
}

async function placeItems(
  opened: Opened,
  items: readonly SyncItem[],
): Promise<(PlacedItem & { name: string })[]> {
  return Promise.all(
    items.map(async ({ id, name, scope }) => {
      if (scope.kind === 'domain') return { id, name, kind: 'domain' };
      if (scope.kind === 'container') {
        return { id, name, kind: 'container', dnKey: dnKey(scope.dn) };
      }
      return { id, name, kind: 'group', members: await membersOf(opened, scope.dn) };
    }),
  );
}

/** Remembered for a minute: who types a search reads them once. */
function membersOf({ directory, members }: Opened, dn: string): Promise<Set<string>> {
  const known = members.get(dn);
  if (known) return known;
  const reading = directory.readMembers(dn);
  members.set(dn, reading);
  setTimeout(() => members.delete(dn), MEMBERS_KEPT_MS).unref();
  reading.catch(() => members.delete(dn));
  return reading;
}

function unsavedConfigOf(given: NewDirectory): DirectoryConfig {
  const core = completeDirectory(given, given.defaultCountry ?? 'NL');
  const flaw = flawOfDirectory(core);
  if (flaw !== null) throw new ProblemError(400, 'invalid_directory', flaw);
  const password = given.account?.password ?? null;
  if (core.account && password === null) {
    throw new ProblemError(400, 'secret_required', 'give the password of the account');
  }
  return configOf(core, password);
}

/** What a server said stands in our own words already; what is left of it is short and safe to show (rule 25). */
function toldOf(error: unknown): unknown {
  if (!(error instanceof DirectoryError)) return error;
  const fields = { fault: error.fault };
  const detail = escapeUntrusted(error.message, SAID_MAX);
  return new ProblemError(502, 'directory_failed', detail, { fields, cause: error });
}

function shortened({ ok, fault, line, servers, seen }: DirectoryTestReport): DirectoryTestReport {
  const said = (text: string) => escapeUntrusted(text, SAID_MAX);
  return {
    ok,
    fault,
    line: said(line),
    servers: servers.map((one) => ({ url: one.url, ok: one.ok, line: said(one.line) })),
    seen: {
      ...seen,
      server: seen.server === null ? null : said(seen.server),
      namingContexts: seen.namingContexts.slice(0, LISTED_MAX).map(said),
      changes: seen.changes === null ? null : said(seen.changes),
    },
  };
}
