import { AccountBinding } from './account-binding.ts';
import type { WithConnection } from './bound-client.ts';
import { listContainers, listGroups, searchPeople } from './browse.ts';
import type { Named } from './browse.ts';
import { Connection } from './connection.ts';
import { ConnectionPool } from './connection-pool.ts';
import { DirectoryError } from './directory-error.ts';
import { readChanges } from './read-changes.ts';
import { readMembers } from './read-members.ts';
import { hasContainer, listObjects, readByDns, readByObjects, readPeople } from './read-people.ts';
import type { RefusedPerson } from './read-person.ts';
import type { Reading } from './reading.ts';
import { resolveName, resolveObject } from './resolve.ts';
import type { Resolved } from './resolve.ts';
import { Servers } from './servers.ts';
import { canBePassword, signInAs } from './sign-in.ts';
import type { Asking } from './sign-in.ts';
import { testDirectory } from './test-directory.ts';
import type { Changes, ChangesCursor, DirectoryConfig, DirectoryTest } from './types.ts';
import type { Person, SignIn } from './types.ts';

const QUERIES_MAX = 4;
const SIGN_INS_MAX = 8;
/** Sign-ins and lookups that wait for a connection. */
const WAITERS_MAX = 1000;

/** A sign-in and a lookup take no longer, whatever the deadlines of single steps add up to. */
const SIGN_IN_MS = 10_000;
const LOOKUP_MS = 4_000;

type Log = { warn: (fields: object, message: string) => void };

/**
 * An Active Directory or another LDAP server, behind a bounded number of connections. Methods throw
 * DirectoryError where the directory does not give all that was asked; nothing is ever swallowed
 * into an empty answer. Sign-ins and lookups of one name give a value instead.
 */
export class Directory implements AsyncDisposable {
  readonly config: DirectoryConfig;
  readonly #log: Log | undefined;
  readonly #servers: Servers;
  readonly #account: AccountBinding;
  readonly #queries: ConnectionPool;
  readonly #signIns: ConnectionPool;
  readonly #reading: Reading;
  readonly #signInMs: number;

  constructor(
    config: DirectoryConfig,
    { log, signInMs = SIGN_IN_MS }: { log?: Log; signInMs?: number } = {},
  ) {
    this.config = config;
    this.#signInMs = signInMs;
    this.#log = log;
    this.#servers = new Servers(config);
    this.#account = new AccountBinding(config.account);
    const waits = {
      waitersMax: WAITERS_MAX,
      waitMs: config.answerMs,
      isStale: ({ server }: Connection) => this.#servers.isOutdone(server),
    };
    this.#queries = new ConnectionPool(() => this.#openBound(), { max: QUERIES_MAX, ...waits });
    // Apart from the others: who was bound there as somebody never reads in the account's name.
    this.#signIns = new ConnectionPool(() => this.#servers.connect(), {
      max: SIGN_INS_MAX,
      ...waits,
    });
    this.#reading = { config, withConnection: this.#withConnection };
  }

  /** What is wrong with it, in one line, and what was seen. Never throws for the directory's sake. */
  test(): Promise<DirectoryTest> {
    return testDirectory(this.config, {
      addresses: this.#servers.addresses,
      account: this.#account,
    });
  }

  /** Right below a container, or below the base DN; at most 500. */
  listContainers(under: string | null): Promise<{ containers: Named[]; isMore: boolean }> {
    return this.#ask((client) => listContainers(client, this.config, under));
  }

  /** With a text in their name; at most 500. */
  listGroups(text: string): Promise<{ groups: Named[]; isMore: boolean }> {
    return this.#ask((client) => listGroups(client, this.config, text));
  }

  /** People with a text in one of their names, below a container or the base DN; at most 500. */
  search(query: {
    text?: string;
    under?: string;
    limit: number;
  }): Promise<{ people: Person[]; isMore: boolean }> {
    return this.#ask((client) => searchPeople(client, this.config, query));
  }

  /** Whom a name from outside means: see {@link resolveName}. Ends within 4 s. */
  async resolve(name: string): Promise<Resolved | Unavailable> {
    return within(LOOKUP_MS, this.#resolve({ name }), unavailable);
  }

  /**
   * Looks somebody up by a name from outside or by object, and binds with the DN that was found and
   * the password. At most one bind, whatever happens, but for a connection that the server closed
   * while it lay idle. Ends within 10 s; nothing is sent after that.
   */
  async signIn(who: { name: string } | { object: string }, password: string): Promise<SignIn> {
    const asking: Asking = { isOver: false, isSent: false };
    const signIn = await within<SignIn>(
      this.#signInMs,
      this.#signIn(who, password, asking),
      (problem) => ({ ...unavailable(problem), ...(asking.isSent && { mayBeWrong: true }) }),
    );
    asking.isOver = true;
    if (signIn.kind === 'unavailable') this.#warn(signIn.problem);
    return signIn;
  }

  async #signIn(
    who: { name: string } | { object: string },
    password: string,
    asking: Asking,
  ): Promise<SignIn> {
    const found = await this.#resolve(who);
    if (found.kind === 'unavailable') return found;
    if (found.kind === 'unknown') return { kind: 'refused', reason: 'unknown_name' };
    if (found.kind === 'ambiguous') return { kind: 'refused', reason: 'ambiguous_name' };
    if (!canBePassword(password)) return { kind: 'refused', reason: 'wrong_password' };
    const { object, dn } = found;
    const { config } = this;
    const means = { config, pool: this.#signIns, servers: this.#servers, asking };
    return signInAs({ object, dn }, password, means);
  }

  /** Everybody, page by page; ends only when it was certainly all. */
  readPeople(
    signal: AbortSignal,
    onRefused?: (person: RefusedPerson) => void,
  ): AsyncIterable<Person[]> {
    return readPeople(this.#reading, signal, onRefused);
  }

  /** Who is not in the map is not there, or not by the user filter. */
  readByObjects(
    objects: readonly string[],
    onRefused?: (person: RefusedPerson) => void,
  ): Promise<Map<string, Person>> {
    return readByObjects(this.#reading, objects, onRefused);
  }

  /** At most 1,000. */
  readByDns(
    dns: readonly string[],
    onRefused?: (person: RefusedPerson) => void,
  ): Promise<Person[]> {
    return readByDns(this.#reading, dns, onRefused);
  }

  /** The keys of the DNs of all people in a group and the groups in it. */
  readMembers(groupDn: string): Promise<Set<string>> {
    return readMembers(this.#reading, groupDn);
  }

  hasContainer(dn: string): Promise<boolean> {
    return hasContainer(this.#reading, dn);
  }

  /** What changed since a cursor; null: nothing, with the cursor of now. */
  readChanges(cursor: ChangesCursor | null): Promise<Changes> {
    return readChanges(this.#reading, cursor);
  }

  /** The objects of everybody with the keys of their DNs: who is not in it is gone. */
  listObjects(signal: AbortSignal): Promise<Map<string, string>> {
    return listObjects(this.#reading, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#queries[Symbol.asyncDispose](), this.#signIns[Symbol.asyncDispose]()]);
  }

  async #resolve(who: { name: string } | { object: string }): Promise<Resolved | Unavailable> {
    try {
      return await this.#ask((client) =>
        'name' in who
          ? resolveName(client, this.config, who.name)
          : resolveObject(client, this.config, who.object),
      );
    } catch (error) {
      if (!(error instanceof DirectoryError)) throw error;
      return unavailable(error.message);
    }
  }

  /** A server may take a connection and answer nothing: then it is the next one's turn. */
  async #openBound(): Promise<Connection> {
    this.#account.check();
    for (let left = this.config.servers.length; ; left -= 1) {
      const connection = await this.#servers.connect();
      try {
        await this.#account.bind(connection);
        return connection;
      } catch (error) {
        connection.close();
        const isAway = error instanceof DirectoryError && error.fault === 'unreachable';
        if (isAway) this.#servers.reportFailure(connection.server, error);
        if (!isAway || left <= 1) throw error;
      }
    }
  }

  /** For short questions, which may be asked twice: of a server that fails, and of the next one. */
  async #ask<T>(work: (client: Connection) => Promise<T>): Promise<T> {
    const failed = { count: 0 };
    const attempt = () => this.#lend(work, failed);
    try {
      return await attempt();
    } catch (error) {
      if (failed.count === 0) throw error;
      return attempt();
    }
  }

  readonly #withConnection: WithConnection = async (work, signal) => {
    signal?.throwIfAborted();
    return this.#lend(async (connection) => {
      const stop = () => connection.close();
      signal?.addEventListener('abort', stop, { once: true });
      try {
        return await work(connection);
      } catch (error) {
        signal?.throwIfAborted();
        throw error;
      } finally {
        signal?.removeEventListener('abort', stop);
      }
    });
  };

  async #lend<T>(
    work: (client: Connection) => Promise<T>,
    failed: { count: number } = { count: 0 },
  ): Promise<T> {
    return this.#queries.use(async (connection, isUsed) => {
      try {
        return await work(connection);
      } catch (error) {
        if (error instanceof DirectoryError && error.fault === 'unreachable') {
          failed.count += 1;
          // A server may close what lies idle; it is not down for that.
          if (!isUsed || connection.failure !== 'closed') {
            this.#servers.reportFailure(connection.server, error);
          }
          connection.close();
        }
        throw error;
      }
    });
  }

  #warn(problem: string): void {
    this.#log?.warn({ directory: this.config.name, problem }, 'directory unavailable');
  }
}

type Unavailable = { kind: 'unavailable'; problem: string };

function unavailable(problem: string): Unavailable {
  return { kind: 'unavailable', problem };
}

/** `late` is told once the time is over; what `work` comes to then is nobody's. */
async function within<T>(ms: number, work: Promise<T>, late: (problem: string) => T): Promise<T> {
  const over = Promise.withResolvers<T>();
  const timer = setTimeout(() => over.resolve(late(`no answer within ${ms} ms in all`)), ms);
  try {
    return await Promise.race([work, over.promise]);
  } finally {
    clearTimeout(timer);
  }
}
