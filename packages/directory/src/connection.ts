import { BerWriter, Client, Control, ResultCodeError } from 'ldapts';
import type { Entry as LdaptsEntry, Filter } from 'ldapts';
import type { BoundClient, Entry, SearchPage, SearchQuery } from './bound-client.ts';
import { DirectoryError } from './directory-error.ts';
import type { DirectoryFault } from './directory-error.ts';
import { PAGED_RESULTS, readPageCookie } from './ldap-message.ts';
import { LdapStream } from './ldap-stream.ts';
import { oneLine, openSocket } from './open-socket.ts';
import type { ServerAddress } from './open-socket.ts';
import { parseFilter } from './parse-filter.ts';
import type { DirectoryConfig } from './types.ts';

const SIZE_LIMIT_EXCEEDED = 4;
/** Active Directory cuts off an answer without pages there. */
const SOME_MAX = 999;
/** A server that turns pages for ever without an object is not waited for. */
const EMPTY_PAGES_MAX = 1000;

type Settings = Pick<
  DirectoryConfig,
  'certificates' | 'startTls' | 'connectMs' | 'answerMs' | 'pageSize'
>;

/** What a bind was answered. Nothing but code 0 is a success. */
export type BindAnswer = { code: number; text: string };

/** A connection to one server. Requests go one after the other; a broken one ends it. */
export class Connection implements BoundClient, AsyncDisposable {
  readonly server: ServerAddress;
  readonly openedAt = performance.now();
  /** Why it is of no use any more: an answer did not come in time, or the connection ended. */
  failure: 'late' | 'closed' | undefined;
  readonly #stream: LdapStream;
  readonly #client: Client;
  readonly #settings: Settings;
  #last: Promise<unknown> = Promise.resolve();

  static async open(server: ServerAddress, settings: Settings): Promise<Connection> {
    return new Connection(server, settings, new LdapStream(await openSocket(server, settings)));
  }

  private constructor(server: ServerAddress, settings: Settings, stream: LdapStream) {
    this.server = server;
    this.#settings = settings;
    this.#stream = stream;
    this.#client = new Client({
      url: 'ldap://directory',
      timeout: settings.answerMs,
      // The library would connect anew by itself, as nobody: this one connection or none.
      createConnection: () => {
        if (stream.destroyed) throw new Error('the connection is closed');
        return stream as never;
      },
    });
  }

  get isOpen(): boolean {
    return !this.#stream.destroyed;
  }

  /** Whether the server sent anything since the last request. */
  get hasAnswered(): boolean {
    return this.#stream.hasAnswered;
  }

  /** A simple bind. Whatever is answered is a value; no answer throws DirectoryError. */
  async bind(name: string, password: string, controls: Control[] = []): Promise<BindAnswer> {
    // The library takes these for mechanisms of SASL.
    if (['EXTERNAL', 'PLAIN', 'DIGEST-MD5', 'SCRAM-SHA-1'].includes(name)) {
      throw new DirectoryError('credentials', `${name} is no name to bind with`);
    }
    return this.#inTurn(async () => {
      let text = '';
      try {
        await this.#client.bind(name, password, controls);
      } catch (error) {
        if (!(error instanceof ResultCodeError)) throw this.#fail(error, 'a bind');
        text = wordsOf(error);
      }
      // The code as it came, not as the library understood it.
      const code = this.#stream.ending?.resultCode;
      if (code === undefined) throw this.#fail(new Error('no result came'), 'a bind');
      return { code, text };
    });
  }

  async search(base: string, query: SearchQuery): Promise<SearchPage> {
    return this.#ask(base, query, {});
  }

  async searchSome(
    base: string,
    query: SearchQuery & { limit: number },
  ): Promise<SearchPage & { isMore: boolean }> {
    const limit = Math.min(query.limit, SOME_MAX);
    const { entries, referrals, isCut } = await this.#ask(base, query, { sizeLimit: limit + 1 });
    const isMore = isCut || entries.length > limit;
    return { entries: entries.slice(0, limit), referrals, isMore };
  }

  async *searchPages(base: string, query: SearchQuery): AsyncIterable<SearchPage> {
    let cookie: Buffer | null = Buffer.alloc(0);
    let emptyPages = 0;
    do {
      const page = new PageRequest(this.#settings.pageSize, cookie);
      const controls: Control[] = [...(query.controls ?? []), page];
      const answer: Answer = await this.#ask(base, { ...query, controls }, {});
      emptyPages = answer.entries.length > 0 ? 0 : emptyPages + 1;
      if (emptyPages > EMPTY_PAGES_MAX) {
        throw new DirectoryError('answer', `${this.server.url} sends empty pages without an end`);
      }
      yield { entries: answer.entries, referrals: answer.referrals };
      cookie = answer.cookie;
    } while (cookie && cookie.length > 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  close(): void {
    this.#stream.destroy();
  }

  #ask(base: string, query: SearchQuery, { sizeLimit }: { sizeLimit?: number }): Promise<Answer> {
    const { answerMs } = this.#settings;
    const filter: Filter =
      typeof query.filter === 'string' ? parseFilter(query.filter) : query.filter;
    return this.#inTurn(async () => {
      try {
        const { searchEntries, searchReferences } = await this.#client.search(
          base,
          {
            scope: query.scope,
            filter,
            attributes: query.attributes,
            explicitBufferAttributes: query.attributes,
            timeLimit: Math.ceil(answerMs / 1000),
            ...(sizeLimit ? { sizeLimit } : {}),
          },
          query.controls,
        );
        const ending = this.#stream.ending;
        if (!ending) throw new Error('no result came');
        return {
          entries: searchEntries.map(readEntry),
          referrals: searchReferences.length,
          isCut: ending.resultCode === SIZE_LIMIT_EXCEEDED,
          cookie: readPageCookie(ending.controls),
        };
      } catch (error) {
        throw this.#fail(error, `a search below ${base || 'the root'}`);
      }
    });
  }

  #inTurn<T>(request: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(request, request);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  #fail(error: unknown, what: string): DirectoryError {
    const { url } = this.server;
    if (error instanceof ResultCodeError) {
      const fault = SEARCH_FAULTS[error.code] ?? 'answer';
      const why = SEARCH_WORDS[error.code] ?? `result ${error.code}: ${wordsOf(error)}`;
      return new DirectoryError(fault, `${url}: ${what} failed: ${why}`, {
        cause: error,
        resultCode: error.code,
      });
    }
    const isLate = error instanceof Error && error.message.includes('timed out');
    const why = isLate
      ? `no answer within ${this.#settings.answerMs} ms`
      : (this.#stream.problem ?? oneLine(String(error)));
    this.failure = isLate ? 'late' : 'closed';
    this.close();
    // The library's error is not kept: it may hold the request.
    return new DirectoryError('unreachable', `${url}: ${what} failed: ${why}`);
  }
}

type Answer = SearchPage & { isCut: boolean; cookie: Buffer | null };

/** RFC 2696; the library's own ends at the first empty page, whatever the cookie says. */
class PageRequest extends Control {
  readonly #size: number;
  readonly #cookie: Buffer;

  constructor(size: number, cookie: Buffer) {
    super(PAGED_RESULTS);
    this.#size = size;
    this.#cookie = cookie;
  }

  protected override writeControl(writer: BerWriter): void {
    const value = new BerWriter();
    value.startSequence();
    value.writeInt(this.#size);
    value.writeBuffer(this.#cookie, 0x04);
    value.endSequence();
    writer.writeBuffer(value.buffer, 0x04);
  }
}

/** What the server said, without what the library puts behind it. */
function wordsOf({ message }: ResultCodeError): string {
  return oneLine(message.replace(/ ?Code: 0x[0-9a-f]+$/, ''));
}

function readEntry({ dn, ...attributes }: LdaptsEntry): Entry {
  const values = new Map<string, Buffer[]>();
  for (const [name, found] of Object.entries(attributes)) {
    const all = Array.isArray(found) ? found : [found];
    if (all.length === 0) continue;
    const bytes = all.map((value) => (typeof value === 'string' ? Buffer.from(value) : value));
    values.set(name.toLowerCase(), bytes);
  }
  return { dn, values };
}

const SEARCH_FAULTS: Record<number, DirectoryFault> = {
  // Active Directory's word to one who is not bound.
  1: 'rights',
  8: 'rights',
  10: 'base_dn',
  13: 'rights',
  32: 'base_dn',
  34: 'base_dn',
  48: 'rights',
  50: 'rights',
  51: 'unreachable',
  52: 'unreachable',
};

const SEARCH_WORDS: Record<number, string> = {
  3: "the directory's time limit cut the answer off",
  4: "the directory's size limit cut the answer off",
  10: 'this server does not hold it and names another',
  11: 'an administrative limit of the directory cut the answer off',
  32: 'there is no such object, or it is not shown to this account',
  34: 'this is no distinguished name',
  50: 'the account has no right to it',
  51: 'the directory is busy',
  52: 'the directory is not available',
};
