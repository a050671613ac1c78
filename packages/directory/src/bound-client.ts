import type { Control, Filter } from 'ldapts';

/** An object as the directory gave it: names of attributes in lower case, every value as bytes. */
export type Entry = { dn: string; values: Map<string, Buffer[]> };

export type SearchQuery = {
  scope: 'base' | 'one' | 'sub';
  /** Text only from the configuration, never with anything from outside in it. */
  filter: Filter | string;
  /** By name; none at all is written ['1.1']. */
  attributes: string[];
  controls?: Control[];
};

export type SearchPage = {
  entries: Entry[];
  /** References to other servers, which are not followed. */
  referrals: number;
};

/**
 * A connection that is bound as the account that reads the directory. Every request has the
 * deadline `answerMs` (a page is a request). All throw DirectoryError: a result other than success
 * never looks like an empty answer.
 */
export interface BoundClient {
  /** All of an answer without paging: an answer cut off by a limit is an error. For few objects. */
  search(base: string, query: SearchQuery): Promise<SearchPage>;
  /** The first `limit` (at most 1000) objects; isMore: there are others, or a limit of the server cut them off. */
  searchSome(
    base: string,
    query: SearchQuery & { limit: number },
  ): Promise<SearchPage & { isMore: boolean }>;
  /** Page by page (`pageSize` of the configuration); ends only when the directory said that this was all. */
  searchPages(base: string, query: SearchQuery): AsyncIterable<SearchPage>;
}

/** Runs work on a connection of the pool; a connection on which a request was broken off is closed. */
export type WithConnection = <T>(
  work: (client: BoundClient) => Promise<T>,
  signal?: AbortSignal,
) => Promise<T>;

/** The first value of an attribute as text; null where there is none or it is no UTF-8. */
export function readText(entry: Entry, attribute: string): string | null {
  return readTexts(entry, attribute)[0] ?? null;
}

/** The values of an attribute that are UTF-8, in the directory's order. */
export function readTexts(entry: Entry, attribute: string): string[] {
  const values = entry.values.get(attribute.toLowerCase()) ?? [];
  return values.flatMap((value) => {
    try {
      return [utf8.decode(value)];
    } catch {
      return [];
    }
  });
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
