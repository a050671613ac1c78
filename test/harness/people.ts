import { decodeBase32, hotp, totpStep } from '@countersign/verification';
import type { History } from '../history/history.ts';
import type { ApiClient } from './api-client.ts';

/** A user with a HOTP token: every code is fresh, however many are asked for. */
export class Person {
  readonly username: string;
  readonly #secret: Buffer;
  readonly #history: History;
  #counter = 0;

  constructor(username: string, secret: Buffer, history: History) {
    this.username = username;
    this.#secret = secret;
    this.#history = history;
  }

  nextCode(): string {
    const code = this.comingCode();
    this.#counter += 1;
    return code;
  }

  /** The next code, which stays the next one: for where it must not be spent. */
  comingCode(): string {
    const code = hotp(this.#secret, this.#counter, { algorithm: 'SHA1', digits: 6 });
    this.#history.noteIssued(this.username, code, `hotp ${this.#counter}`);
    return code;
  }

  /** A code that none of the counters in reach gives. */
  wrongCode(): string {
    const near = new Set<string>();
    for (let i = -12; i < 25; i += 1) {
      const counter = this.#counter + i;
      if (counter >= 0) near.add(hotp(this.#secret, counter, { algorithm: 'SHA1', digits: 6 }));
    }
    for (;;) {
      const code = String(Math.floor(Math.random() * 1_000_000)).padStart(6, '0');
      if (!near.has(code)) return code;
    }
  }
}

/** A user with a TOTP token, as an authenticator app holds it: a code is good once in 30 s. */
export class TotpPerson {
  readonly username: string;
  readonly #secret: Buffer;
  readonly #history: History;

  constructor(username: string, secret: Buffer, history: History) {
    this.username = username;
    this.#secret = secret;
    this.#history = history;
  }

  /** `ahead`: of a clock that goes so many steps fast. */
  codeNow(ahead = 0): string {
    const step = totpStep(Date.now(), 30) + ahead;
    const code = hotp(this.#secret, step, { algorithm: 'SHA1', digits: 6 });
    this.#history.noteIssued(this.username, code, `totp ${step}`);
    return code;
  }
}

/** Gives a user who is there already a HOTP token. */
export async function enrolPerson(api: ApiClient, username: string): Promise<Person> {
  return new Person(username, await addToken(api, username, 'hotp'), api.history);
}

/** Enrols `count` users called `prefix-…`, several writes at a time. */
export async function enrolPeople(
  api: ApiClient,
  prefix: string,
  count: number,
): Promise<Person[]> {
  const secrets = await enrol(api, { prefix, count, type: 'hotp' });
  return secrets.map(([username, secret]) => new Person(username, secret, api.history));
}

export async function enrolTotpPeople(
  api: ApiClient,
  prefix: string,
  count: number,
): Promise<TotpPerson[]> {
  const secrets = await enrol(api, { prefix, count, type: 'totp' });
  return secrets.map(([username, secret]) => new TotpPerson(username, secret, api.history));
}

async function enrol(
  api: ApiClient,
  { prefix, count, type }: { prefix: string; count: number; type: 'hotp' | 'totp' },
): Promise<[username: string, secret: Buffer][]> {
  const enrolled: [string, Buffer][] = [];
  const names = Array.from({ length: count }, (_, i) => `${prefix}-${i + 1}`);
  const enrolNext = async () => {
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      await api.done('POST', '/api/v1/users', { username: name });
      enrolled.push([name, await addToken(api, name, type)]);
    }
  };
  await Promise.all(Array.from({ length: 6 }, enrolNext));
  return enrolled;
}

async function addToken(api: ApiClient, username: string, type: 'hotp' | 'totp'): Promise<Buffer> {
  const path = `/api/v1/users/${username}/authenticators`;
  const { otpauth } = await api.done<{ otpauth: string }>('POST', path, { type });
  return decodeBase32(new URL(otpauth).searchParams.get('secret')!);
}
