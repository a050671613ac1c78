import { setTimeout as sleep } from 'node:timers/promises';
import {
  connect,
  errors,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
} from '@nats-io/transport-node';
import { tagOfServer } from './log-layout.ts';
import { SilenceError } from './silence-error.ts';
import { flawOfNats } from './flaw-of-nats.ts';
import {
  connectOnce,
  createOwnInbox,
  membersFileOf,
  signInOptions,
  type LogSignIn,
} from './log-sign-in.ts';
import { isMemberKey } from './server-keys.ts';
import { StreamsClaim } from './streams-claim.ts';

/** The subset of a logger the cluster package needs. */
export type Log = {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
};

/** Encrypts and authenticates what leaves the node; `context` is authenticated with it. */
export type Sealer = {
  seal(plain: Uint8Array, context: string): Uint8Array;
  /** Throws when the bytes were not sealed with this key and context. */
  open(sealed: Uint8Array, context: string): Uint8Array;
};

export { SilenceError };

export type NatsLinkOptions = LogSignIn & {
  /** `host:port`, this node's own server first. */
  servers: string[];
  /** Shown in the server's connection list, e.g. `node-1 agent`. */
  name: string;
  /** Only servers of the log layout with this tag count; a server may still belong to an earlier one. */
  tag?: string;
  log: Log;
};

const CONNECT_PAUSE_MS = 150;
const FOREIGN_PAUSE_MS = 200;
const HOME_EVERY_MS = 5000;
const HOME_WAIT_MS = 1000;
const QUIET_WAIT_MS = 1000;
const CALL_EVERY_MS = 50;
const LOOK_EVERY_MS = 2000;

/**
 * One connection to the log servers that is always wanted: it is made in the background, re-made for ever,
 * and every request on it has a deadline, whether it is up or not.
 */
export class NatsLink implements AsyncDisposable {
  readonly #options: NatsLinkOptions;
  readonly #onConnected: ((connection: NatsConnection) => void)[] = [];
  #connection: NatsConnection | null = null;
  #isUp = false;
  #isClosed = false;
  #lastUpAt = 0;
  #waiters = new Set<() => void>();
  #openRequests = 0;
  #homing: NodeJS.Timeout | null = null;
  /** Of the server that was connected to last. */
  #serverKey: string | null = null;
  #watching: NodeJS.Timeout | null = null;
  #isGoingHome = false;
  readonly #claim: StreamsClaim | null;
  #flaw: string | null = null;
  readonly #toldFlaws = new Set<string>();

  constructor(options: NatsLinkOptions) {
    this.#options = options;
    const ask = (subject: string, timeout: number) =>
      this.#connection!.request(subject, '', { timeout });
    const { streamsOf } = options;
    this.#claim = streamsOf === undefined ? null : new StreamsClaim(streamsOf, ask);
    void this.#connectForEver();
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** `host:port` of the server it is connected to; null while it is to none. */
  get server(): string | null {
    return this.#isUp ? (this.#connection?.getServer() ?? null) : null;
  }

  /** Whose mark its streams bear, where the NATS is the operator's; undefined where the nodes run it. */
  get streamsOf(): string | undefined {
    return this.#options.streamsOf;
  }

  /** Whether the server it was connected to last is one of several. */
  get isClustered(): boolean {
    return this.#connection?.info?.cluster !== undefined;
  }

  /** Why the operator's NATS cannot be used as it is; null while nothing is known against it. */
  get flaw(): string | null {
    return this.#claim?.flaw ?? this.#flaw;
  }

  /** Monotonic ms at which the link was last known to be up (0 = never). */
  get lastUpAt(): number {
    return this.#isUp ? performance.now() : this.#lastUpAt;
  }

  /** Runs `use` once there is a first connection; subscriptions made there survive every reconnect. */
  whenFirstConnected(use: (connection: NatsConnection) => void): void {
    if (this.#connection) use(this.#connection);
    else this.#onConnected.push(use);
  }

  /** A subject of one's own for answers, where this process may listen. */
  createInbox(): string {
    return createOwnInbox(this.#options);
  }

  /** Resolves true once up, false after `timeoutMs`. */
  async waitUntilUp(timeoutMs: number): Promise<boolean> {
    if (this.#isUp) return true;
    if (this.#isClosed || timeoutMs <= 0) return false;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve(this.#isUp);
      };
      const timer = setTimeout(done, timeoutMs);
      this.#waiters.add(done);
    });
  }

  /** Sends nothing while the link is down; throws {@link SilenceError} for every way of not being answered. */
  async request(
    subject: string,
    payload: Uint8Array | string,
    options: { timeoutMs: number; headers?: MsgHdrs },
  ): Promise<Msg> {
    const start = performance.now();
    if (!this.#isUp && !(await this.waitUntilUp(options.timeoutMs))) {
      throw new SilenceError(`not connected to any log server (${subject})`);
    }
    if (this.#claim && !this.#claim.isProven && isKept(subject)) {
      await this.#claim.prove(options.timeoutMs - (performance.now() - start));
    }
    const timeout = Math.max(1, Math.ceil(options.timeoutMs - (performance.now() - start)));
    this.#openRequests += 1;
    try {
      return await this.#connection!.request(subject, payload, {
        timeout,
        ...(options.headers && { headers: options.headers }),
      });
    } catch (cause) {
      if (isNoResponders(cause)) throw new NoResponderError(subject, { cause });
      throw new SilenceError(`no answer to ${subject}`, { cause });
    } finally {
      this.#openRequests -= 1;
    }
  }

  /** Fire and forget; dropped while the link is down. */
  publish(subject: string, payload: Uint8Array | string): void {
    if (!this.#isUp) return;
    try {
      this.#connection!.publish(subject, payload);
    } catch {
      // A connection closing under us is the same as being down.
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#homing) clearInterval(this.#homing);
    if (this.#watching) clearInterval(this.#watching);
    this.#claim?.close();
    this.#setUp(false);
    await this.#connection?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #connectForEver(): Promise<void> {
    let servers = this.#options.servers;
    let hasFailed = false;
    while (!this.#isClosed && !this.#connection) {
      try {
        const connection = await connect({
          ...signInOptions(this.#options, (digest) => (this.#serverKey = digest)),
          servers,
          name: this.#options.name,
          maxReconnectAttempts: -1,
          // A server may learn of this process only a moment later.
          ignoreAuthErrorAbort: true,
          reconnectTimeWait: 100,
          reconnectJitter: 50,
          pingInterval: 2000,
          maxPingOut: 2,
          timeout: 2000,
          noRandomize: true,
          ignoreClusterUpdates: true,
          noAsyncTraces: true,
        });
        if (this.#isClosed) {
          await connection.close();
          return;
        }
        if (!this.#isOurs(connection)) {
          await connection.close();
          servers = [...servers.slice(1), servers[0]!];
          await sleep(FOREIGN_PAUSE_MS);
          continue;
        }
        this.#connection = connection;
      } catch (error) {
        if (!hasFailed) {
          this.#options.log.warn({ error: String(error) }, 'cannot connect to the log servers yet');
        }
        hasFailed = true;
        await sleep(CONNECT_PAUSE_MS);
      }
    }
    if (!this.#connection) return;
    void this.#followStatus(this.#connection);
    if (this.#options.servers.length > 1) {
      this.#homing = setInterval(() => void this.#goHome(), HOME_EVERY_MS);
      this.#homing.unref();
    }
    const membersFile = membersFileOf(this.#options);
    if (membersFile !== undefined) {
      this.#watching = setInterval(() => this.#leaveRemoved(membersFile), LOOK_EVERY_MS);
      this.#watching.unref();
    }
    this.#setUp(!this.#connection.isClosed());
    for (const use of this.#onConnected) use(this.#connection);
  }

  async #followStatus(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === 'disconnect' || status.type === 'close') {
        if (this.#isUp) {
          this.#options.log.warn({ connection: this.#options.name }, 'log server connection lost');
        }
        this.#setUp(false);
      } else if (status.type === 'reconnect') {
        if (!this.#isOurs(connection)) {
          setTimeout(() => void connection.reconnect().catch(() => undefined), FOREIGN_PAUSE_MS);
          continue;
        }
        this.#options.log.info({ server: status.server }, 'log server connection back');
        this.#claim?.lookAgain();
        this.#setUp(true);
      }
    }
  }

  /**
   * Back to the nearest server once it and this one hear each other again, in a moment without open requests: a node
   * that stays at another node's server is cut off with that one.
   */
  async #goHome(): Promise<void> {
    const connection = this.#connection;
    const [home] = this.#options.servers;
    if (!connection || !home || this.#isGoingHome || this.server === home) return;
    this.#isGoingHome = true;
    try {
      if (!(await this.#isHeardAt(home)) || !(await this.#isQuiet()) || !this.#isUp) return;
      // So that home is the next in turn, and not behind one that may not answer.
      connection.setServers(this.#options.servers);
      await connection.reconnect();
    } catch (error) {
      this.#options.log.warn({ error: String(error) }, 'not back at the nearest log server');
    } finally {
      this.#isGoingHome = false;
    }
  }

  /** Away from a server whose node was removed meanwhile: it is not refused before the next handshake. */
  #leaveRemoved(membersFile: string): void {
    const key = this.#serverKey;
    if (!this.#isUp || key === null || isMemberKey(membersFile, key)) return;
    this.#options.log.warn({ server: this.server }, 'the node of this log server was removed');
    this.#setUp(false);
    this.#connection?.reconnect().catch(() => undefined);
  }

  /** Waits for a moment in which nobody waits for an answer; false: under this load there is none. */
  async #isQuiet(): Promise<boolean> {
    const until = performance.now() + QUIET_WAIT_MS;
    while (this.#openRequests > 0 && performance.now() < until) await sleep(1);
    return this.#openRequests === 0;
  }

  /** Whether what is published here arrives there. A server that has just started may not know the others yet. */
  async #isHeardAt(server: string): Promise<boolean> {
    let probe: NatsConnection | null = null;
    try {
      const { name } = this.#options;
      probe = await connectOnce(this.#options, { server, name, timeoutMs: HOME_WAIT_MS });
      if (!this.#isOurs(probe)) return false;
      const inbox = this.createInbox();
      const { promise: heard, resolve } = Promise.withResolvers<true>();
      probe.subscribe(inbox, { max: 1, callback: () => resolve(true) });
      const calling = setInterval(() => this.publish(inbox, ''), CALL_EVERY_MS);
      const tooLate = sleep(HOME_WAIT_MS, false);
      return await Promise.race([heard, tooLate]).finally(() => clearInterval(calling));
    } catch {
      return false;
    } finally {
      await probe?.close().catch(() => undefined);
    }
  }

  #isOurs(connection: NatsConnection): boolean {
    const { tag, streamsOf, log } = this.#options;
    if (streamsOf !== undefined) {
      const flaw = flawOfNats(connection);
      if (flaw && !this.#toldFlaws.has(flaw)) log.warn({ flaw }, 'this NATS server is not used');
      if (flaw) this.#toldFlaws.add(flaw);
      this.#flaw = flaw;
      return flaw === null;
    }
    return tag === undefined || tagOfServer(connection.info?.server_name ?? '') === tag;
  }

  #setUp(isUp: boolean): void {
    if (this.#isUp && !isUp) this.#lastUpAt = performance.now();
    this.#isUp = isUp && !this.#isClosed;
    for (const wake of [...this.#waiters]) wake();
  }
}

/** No process listens on that subject: the server says so at once, and nobody got the message. */
export class NoResponderError extends SilenceError {
  override name = 'NoResponderError';
}

/** What only passes between nodes tells nothing to those of another cluster, and changes nothing there. */
function isKept(subject: string): boolean {
  return !subject.startsWith('cs.') && !subject.startsWith('_INBOX.');
}

function isNoResponders(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error instanceof errors.NoRespondersError || isNoResponders(error.cause);
}
