import { setTimeout as sleep } from 'node:timers/promises';
import { hotp, otpKey, totpStep } from '@countersign/verification';
import type { SignIn } from './radius-load.ts';

const PERIOD_SECONDS = 30;

/** People with tokens, whose codes are each given out once: in a step of 30 s everybody has one. */
export class TotpSupply {
  readonly #people: { username: string; key: ReturnType<typeof otpKey> }[];
  #step = 0;
  #given = 0;

  constructor(people: readonly { username: string; secret: Buffer }[]) {
    this.#people = people.map(({ username, secret }) => ({ username, key: otpKey(secret) }));
  }

  /** A code that was not given out before; null: everybody's of this step was. */
  readonly next = (): SignIn | null => {
    this.#turnStep();
    const person = this.#people[this.#given];
    if (!person) return null;
    this.#given += 1;
    return { username: person.username, code: this.#codeOf(person.key) };
  };

  /** The same, and from the beginning when everybody's was: for whoever does not remember them. */
  readonly nextOrAgain = (): SignIn => {
    const signIn = this.next();
    if (signIn) return signIn;
    this.#given = 0;
    return this.nextOrAgain();
  };

  /** Waits for the next step unless so many codes are left in this one, or everybody's is. */
  async untilLeft(count: number): Promise<void> {
    this.#turnStep();
    if (this.#given === 0 || this.#people.length - this.#given >= count) return;
    const step = this.#step;
    while (totpStep(Date.now(), PERIOD_SECONDS) === step) await sleep(50);
  }

  #turnStep(): void {
    const step = totpStep(Date.now(), PERIOD_SECONDS);
    if (step === this.#step) return;
    this.#step = step;
    this.#given = 0;
  }

  #codeOf(key: ReturnType<typeof otpKey>): string {
    return hotp(key, this.#step, { algorithm: 'SHA1', digits: 6 });
  }
}
