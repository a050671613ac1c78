import type { Connection } from './connection.ts';
import { DirectoryError } from './directory-error.ts';
import { readDataCode } from './sign-in-reasons.ts';
import type { DirectoryConfig } from './types.ts';

const FIRST_PAUSE_MS = 60_000;
const LONGEST_PAUSE_MS = 900_000;

/**
 * Binds connections as the account that reads the directory. Where the directory refuses the
 * account nothing is asked for a minute, then for twice as long, up to 15 minutes: tries without a
 * pause would lock it.
 */
export class AccountBinding {
  readonly #account: DirectoryConfig['account'];
  #isProven = false;
  #trial: Promise<void> | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #refused: { until: number; error: DirectoryError } | undefined;

  constructor(account: DirectoryConfig['account']) {
    this.#account = account;
  }

  /** Throws while the account is not to be tried. */
  check(): void {
    const now = performance.now();
    if (!this.#refused || now >= this.#refused.until) return;
    const { error, until } = this.#refused;
    const again = `it is tried again in ${Math.ceil((until - now) / 1000)} s`;
    throw new DirectoryError(error.fault, `${error.message}; ${again}`);
  }

  /** Tries whatever happened before, but never twice at once until it was right. Throws DirectoryError. */
  async bind(connection: Connection): Promise<void> {
    if (!this.#account) return;
    while (this.#trial && !this.#isProven) {
      await this.#trial;
      this.check();
    }
    const trial = this.#tryBind(connection, this.#account);
    this.#trial = trial
      .catch(() => undefined)
      .finally(() => {
        this.#trial = undefined;
      });
    await trial;
  }

  async #tryBind(
    connection: Connection,
    { name, password }: { name: string; password: string },
  ): Promise<void> {
    const { url } = connection.server;
    // Both would be taken for anonymous, which is no proof that the account is right.
    if (name === '' || password === '') {
      throw new DirectoryError('credentials', `${url}: the account has no name or no password`);
    }
    const { code, text } = await connection.bind(name, password);
    this.#isProven = code === 0;
    if (code === 0) {
      this.#refused = undefined;
      this.#pauseMs = FIRST_PAUSE_MS;
      return;
    }
    const error = describe(url, code, text);
    if (error.fault === 'credentials') this.#pause(error);
    throw error;
  }

  #pause(error: DirectoryError): void {
    const now = performance.now();
    // Connections that were opened together are one try.
    if (this.#refused && now < this.#refused.until) return;
    this.#refused = { until: now + this.#pauseMs, error };
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
  }
}

function describe(url: string, code: number, text: string): DirectoryError {
  const options = { resultCode: code };
  if (code === 49) {
    const reason = DATA_WORDS[readDataCode(text) ?? ''];
    const why = `the directory refuses the account's name or password${reason ? ` (${reason})` : ''}`;
    return new DirectoryError('credentials', `${url}: ${why}`, options);
  }
  if (code === 8 || code === 13) {
    const why = 'the directory takes passwords only through TLS: use ldaps:// or StartTLS';
    return new DirectoryError('certificate', `${url}: ${why}`, options);
  }
  if (code === 51 || code === 52) {
    return new DirectoryError('unreachable', `${url}: the directory is busy or goes away`, options);
  }
  const why = `the directory refuses the account (result ${code}: ${text})`;
  return new DirectoryError('credentials', `${url}: ${why}`, options);
}

const DATA_WORDS: Record<string, string> = {
  '530': 'it may not sign in at this time',
  '531': 'it may not sign in from here',
  '532': 'its password has expired',
  '533': 'it is disabled',
  '701': 'it has expired',
  '773': 'its password must be changed',
  '775': 'it is locked',
};
