import { waitFor } from '@countersign/testing';
import { percentile } from './percentile.ts';
import { RadiusLoad, type LoadFigures, type SignIn } from './radius-load.ts';
import type { TotpSupply } from './totp-supply.ts';

const WARM_UP_MS = 4000;

export type Cpu = Record<string, number>;
export type Contender = {
  what: string;
  ports: readonly number[];
  secret: string;
  /** It takes each code once. */
  remembers: boolean;
  /** Processor seconds used so far, by part. */
  cpu(): Cpu;
};
export type Row = {
  what: string;
  perSecond: number;
  cpuMicros: Cpu;
  p50Ms: number;
  p99Ms: number;
  halfPerSecond: number;
  halfP50Ms: number;
  halfP99Ms: number;
  takesCodeTwice: boolean;
  rejected: number;
  lost: number;
};

/** One of those that are compared, with its load and what came of it so far. */
export class Measured {
  readonly #contender: Contender;
  readonly #load: RadiusLoad;
  readonly #supply: TotpSupply;
  readonly #atOnce: number;
  readonly #next: () => SignIn | null;
  readonly #full: LoadFigures[] = [];
  readonly #half: LoadFigures[] = [];
  readonly #cpu: Cpu = {};
  #takesCodeTwice = false;
  #perSecond = 0;

  private constructor(
    contender: Contender,
    load: RadiusLoad,
    { supply, atOnce }: { supply: TotpSupply; atOnce: number },
  ) {
    this.#contender = contender;
    this.#load = load;
    this.#supply = supply;
    this.#atOnce = atOnce;
    this.#next = contender.remembers ? supply.next : supply.nextOrAgain;
  }

  /** Waits until it is served, then warms it up. */
  static async begin(
    contender: Contender,
    options: { supply: TotpSupply; atOnce: number },
  ): Promise<Measured> {
    const { ports, secret } = contender;
    const load = await RadiusLoad.open({ ports, secret });
    const measured = new Measured(contender, load, options);
    measured.#takesCodeTwice = await isTakenTwice(load, options.supply, ports.length);
    measured.#perSecond = perSecond([await measured.#runClosed(WARM_UP_MS)]);
    return measured;
  }

  async runFull(durationMs: number): Promise<void> {
    await this.#untilLeft(this.#perSecond * (durationMs / 1000) * 1.5);
    const before = this.#contender.cpu();
    const ownBefore = process.cpuUsage();
    this.#full.push(await this.#runClosed(durationMs));
    const own = process.cpuUsage(ownBefore);
    const used = this.#contender.cpu();
    for (const part of Object.keys(used)) this.#add(part, used[part]! - before[part]!);
    this.#add('load generator', (own.user + own.system) / 1e6);
    this.#perSecond = perSecond(this.#full);
  }

  async runHalf(durationMs: number): Promise<void> {
    const rate = this.#perSecond / 2;
    await this.#untilLeft(rate * (durationMs / 1000) + 100);
    const options = { perSecond: rate, durationMs, next: this.#next };
    this.#half.push(await this.#load.runOpen(options));
  }

  row(): Row {
    const { what } = this.#contender;
    const fullMs = this.#full.flatMap(({ latencies }) => latencies);
    const halfMs = this.#half.flatMap(({ latencies }) => latencies);
    const all = [...this.#full, ...this.#half];
    const micros = Object.entries(this.#cpu).map(([part, seconds]) => {
      return [part, (seconds * 1e6) / fullMs.length] as const;
    });
    return {
      what,
      perSecond: this.#perSecond,
      cpuMicros: Object.fromEntries(micros),
      p50Ms: percentile(fullMs, 0.5),
      p99Ms: percentile(fullMs, 0.99),
      halfPerSecond: perSecond(this.#half),
      halfP50Ms: percentile(halfMs, 0.5),
      halfP99Ms: percentile(halfMs, 0.99),
      takesCodeTwice: this.#takesCodeTwice,
      rejected: all.reduce((sum, { rejected }) => sum + rejected, 0),
      lost: all.reduce((sum, { lost, unbelieved }) => sum + lost + unbelieved, 0),
    };
  }

  async end(): Promise<void> {
    await this.#load[Symbol.asyncDispose]();
  }

  #runClosed(durationMs: number): Promise<LoadFigures> {
    return this.#load.runClosed({ atOnce: this.#atOnce, durationMs, next: this.#next });
  }

  async #untilLeft(count: number): Promise<void> {
    if (this.#contender.remembers) await this.#supply.untilLeft(Math.ceil(count));
  }

  #add(part: string, seconds: number): void {
    this.#cpu[part] = (this.#cpu[part] ?? 0) + seconds;
  }
}

/** Waits until it is served, then tells whether any of the servers takes the same code a second time. */
async function isTakenTwice(
  load: RadiusLoad,
  supply: TotpSupply,
  servers: number,
): Promise<boolean> {
  const signIn = await waitFor(
    'a sign-in',
    async () => {
      const one = supply.nextOrAgain();
      return (await load.ask(one)) === 'accepted' ? one : null;
    },
    { timeoutMs: 20_000, everyMs: 500 },
  );
  const again = [];
  for (let n = 0; n < servers; n += 1) {
    again.push(await load.ask({ ...signIn, station: `another ${n}` }));
  }
  return again.includes('accepted');
}

function perSecond(runs: readonly LoadFigures[]): number {
  const answered = runs.reduce((sum, { latencies }) => sum + latencies.length, 0);
  return answered / (runs.reduce((sum, { durationMs }) => sum + durationMs, 0) / 1000);
}
