import { setTimeout as sleep } from 'node:timers/promises';
import type { Msg } from '@nats-io/transport-node';
import { INCARNATION_STREAM } from './names.ts';
import { SilenceError } from './silence-error.ts';

/** In the metadata of every stream in an operator's NATS: whose it is. */
export const MARK = 'countersign.cluster';

const LOOK_MS = 1000;
const PAUSE_MS = 2000;
const STREAM_NOT_FOUND = 10059;
const NO_JETSTREAM_IN_ACCOUNT = 10039;

type Described = { metadata?: Record<string, string> };

export function markOf({ metadata }: Described): string | undefined {
  return metadata?.[MARK];
}

/** Null: the stream bears this cluster's mark. */
export function flawOfMark(stream: string, config: Described, cluster: string): string | null {
  const mark = markOf(config);
  if (mark === cluster) return null;
  const whose = mark === undefined ? "is not Countersign's" : `belongs to the cluster ${mark}`;
  return (
    `nats.urls: the stream ${stream} there ${whose}, and this is the cluster ${cluster}: ` +
    'each cluster needs an account of its own'
  );
}

/** What the log's first stream in a JetStream API answer says about whose NATS this is. */
export function flawOfAnswer(
  answer: { error?: { err_code: number }; config?: Described },
  cluster: string,
): { isThere: boolean; flaw: string | null } | null {
  if (answer.config) {
    return { isThere: true, flaw: flawOfMark(INCARNATION_STREAM, answer.config, cluster) };
  }
  if (answer.error?.err_code === STREAM_NOT_FOUND) return { isThere: false, flaw: null };
  if (answer.error?.err_code === NO_JETSTREAM_IN_ACCOUNT) {
    return { isThere: false, flaw: 'nats.urls: JetStream is not enabled for the account there' };
  }
  return null;
}

/**
 * Whose streams stand in an operator's NATS, over one connection. Nothing is read or written there before that is
 * known to be this cluster's, or nobody's; once it was, a log that does not answer is not doubted.
 */
export class StreamsClaim {
  readonly #cluster: string;
  readonly #ask: (subject: string, timeoutMs: number) => Promise<Msg>;
  #isOurs = false;
  #flaw: string | null = null;
  #looking: Promise<boolean> | null = null;
  /** Counts connections: an older one's look ends. */
  #connections = 0;

  constructor(cluster: string, ask: (subject: string, timeoutMs: number) => Promise<Msg>) {
    this.#cluster = cluster;
    this.#ask = ask;
  }

  get isProven(): boolean {
    return this.#isOurs && this.#flaw === null;
  }

  get flaw(): string | null {
    return this.#flaw;
  }

  /** Throws {@link SilenceError} unless the streams are this cluster's, or there are none yet. */
  async prove(timeoutMs: number): Promise<void> {
    this.#looking ??= this.#look().finally(() => (this.#looking = null));
    const tooLate = sleep(Math.max(1, timeoutMs), false, { ref: false });
    const isKnown = await Promise.race([this.#looking, tooLate]);
    if (this.#flaw !== null) throw new SilenceError(this.#flaw);
    if (!isKnown) throw new SilenceError('nats.urls: JetStream does not answer there');
  }

  /** Over another connection, in the background: the servers may have been replaced by others. */
  lookAgain(): void {
    const connection = (this.#connections += 1);
    const untilAnswered = async () => {
      while (connection === this.#connections && !(await this.#look())) await sleep(PAUSE_MS);
    };
    void untilAnswered();
  }

  close(): void {
    this.#connections += 1;
  }

  /** False: nobody answered. */
  async #look(): Promise<boolean> {
    try {
      const reply = await this.#ask(`$JS.API.STREAM.INFO.${INCARNATION_STREAM}`, LOOK_MS);
      const found = flawOfAnswer(reply.json(), this.#cluster);
      // Without a leader some servers answer so for a while.
      if (!found || (this.#isOurs && !found.isThere)) return false;
      this.#flaw = found.flaw;
      this.#isOurs ||= found.isThere && found.flaw === null;
      return true;
    } catch {
      return false;
    }
  }
}
