import { randomBytes, randomInt } from 'node:crypto';

import { signRequest } from './authenticators.ts';
import { checkReply, type ReplyRefusal } from './check-reply.ts';
import { type Exchange, hideUserPassword } from './hidden-attributes.ts';
import { IdentifierPool, type Slot } from './identifier-pool.ts';
import { type Attribute, type Packet, packetCodes, RadiusError } from './radius-packet.ts';
import { type Refusal, RefusalCounts } from './refusal-counts.ts';
import { type HealthBounds, ServerHealth } from './server-health.ts';

/** A server that is asked, in the order of the list. */
export interface TargetServer {
  readonly name: string;
  /** An address, or a name that is looked up when its sockets open. */
  readonly host: string;
  readonly port: number;
  readonly secret: Buffer;
  /** `require` (what to choose): its replies need a valid Message-Authenticator. */
  readonly messageAuthenticator: 'require' | 'off';
}

export interface ClientRequest {
  /** 1 Access-Request or 4 Accounting-Request. */
  readonly code: number;
  /** As they shall stand; User-Password only through `password`. Proxy-States come back. */
  readonly attributes: readonly Attribute[];
  /** Bytes, at most 128; hidden anew for each server. */
  readonly password?: Buffer;
}

export type ClientResult =
  | {
      kind: 'answered';
      server: string;
      code: number;
      /** Hidden ones still hidden: open them with `exchange`. */
      attributes: readonly Attribute[];
      exchange: Exchange;
    }
  /**
   * Nobody answered in time; `tried` names who was asked. `mayBeHeard`: one of them may have acted on it, for not every
   * packet met "nobody listens there".
   */
  | { kind: 'unanswered'; tried: string[]; mayBeHeard: boolean }
  /** All identifiers of the servers that live are in use. */
  | { kind: 'busy' };

export interface ClientBounds extends HealthBounds {
  /** Wait for the first answer; doubles with each try up to `longestWaitMs`, ± 10 %. */
  firstWaitMs: number;
  longestWaitMs: number;
  triesPerServer: number;
  /** Of one request over all servers. */
  timeoutMs: number;
  /** Each has 256 requests in flight at most. */
  socketsPerServer: number;
  probeEveryMs: number;
}

const defaultBounds: ClientBounds = {
  firstWaitMs: 1_000,
  longestWaitMs: 2_000,
  triesPerServer: 3,
  timeoutMs: 12_000,
  socketsPerServer: 4,
  deadAfter: 2,
  windowMs: 30_000,
  deadMs: 60_000,
  probeEveryMs: 10_000,
};

export interface ClientOptions {
  readonly servers: readonly TargetServer[];
  readonly bounds?: Partial<ClientBounds>;
  readonly onServerState?: (server: string, state: 'dead' | 'alive') => void;
  /** Replies that were not believed, at most once a minute for each server and reason. */
  readonly onRefused?: (refusal: Refusal<ReplyRefusal>) => void;
}

interface Target extends TargetServer {
  readonly pool: IdentifierPool;
  readonly health: ServerHealth;
  probe?: NodeJS.Timeout;
}

type Outcome = { packet: Packet; exchange: Exchange } | 'unanswered' | 'unheard' | 'busy';

const flushEveryMs = 5_000;

/** The clients' side of RADIUS over UDP, with dead-server detection. Promises: DESIGN.md. */
export class RadiusClient implements AsyncDisposable {
  readonly #targets: Target[];
  readonly #bounds: ClientBounds;
  readonly #options: ClientOptions;
  readonly #refusals: RefusalCounts<ReplyRefusal>;
  readonly #closing = new AbortController();
  readonly #flush: NodeJS.Timeout;

  /** Throws RadiusError when there is no server or two have one name. */
  constructor(options: ClientOptions) {
    const names = options.servers.map(({ name }) => name);
    if (names.length === 0) throw new RadiusError('at least one RADIUS server is needed');
    if (new Set(names).size < names.length) throw new RadiusError('two servers have one name');
    this.#options = options;
    this.#bounds = { ...defaultBounds, ...options.bounds };
    this.#refusals = new RefusalCounts((refusal) => options.onRefused?.(refusal));
    this.#targets = options.servers.map((server) => ({
      ...server,
      pool: new IdentifierPool(server, { maxSockets: this.#bounds.socketsPerServer }),
      health: new ServerHealth(this.#bounds),
    }));
    this.#flush = setInterval(() => this.#refusals.flush(performance.now()), flushEveryMs).unref();
  }

  /**
   * Asks the servers in order, the dead ones only when no other is left. `preferServer` goes
   * first: a State is worth something only to the server that gave it. Rejects with the signal's
   * reason when aborted, and with RadiusError when the request cannot be made.
   */
  async send(
    request: ClientRequest,
    options: { signal?: AbortSignal; timeoutMs?: number; preferServer?: string } = {},
  ): Promise<ClientResult> {
    const { timeoutMs = this.#bounds.timeoutMs, preferServer } = options;
    const stop = AbortSignal.any([
      this.#closing.signal,
      ...(options.signal ? [options.signal] : []),
    ]);
    stop.throwIfAborted();
    const giveUpAt = performance.now() + timeoutMs;
    const tried: string[] = [];
    let isBusy = false;
    let mayBeHeard = false;
    const targets = this.#chooseTargets(preferServer);
    for (const target of targets) {
      if (performance.now() >= giveUpAt) break;
      const isLast = target === targets.at(-1);
      const outcome = await this.#ask(target, request, { stop, giveUpAt, isLast });
      if (outcome === 'busy') isBusy = true;
      else tried.push(target.name);
      if (outcome === 'unanswered') mayBeHeard = true;
      if (typeof outcome === 'string') continue;
      const { packet, exchange } = outcome;
      const { code, attributes } = packet;
      return { kind: 'answered', server: target.name, code, attributes, exchange };
    }
    if (isBusy && tried.length === 0) return { kind: 'busy' };
    return { kind: 'unanswered', tried, mayBeHeard };
  }

  servers(): { name: string; isDead: boolean }[] {
    return this.#targets.map(({ name, health }) => ({ name, isDead: health.isDead }));
  }

  /** What its open sockets send from. */
  localPorts(): number[] {
    return this.#targets.flatMap(({ pool }) => pool.localPorts);
  }

  /** Aborts what is in flight and closes the sockets. */
  async close(): Promise<void> {
    this.#closing.abort(new RadiusError('the RADIUS client is closed'));
    clearInterval(this.#flush);
    for (const target of this.#targets) {
      clearTimeout(target.probe);
      target.pool.retire();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #chooseTargets(preferServer: string | undefined): Target[] {
    const now = performance.now();
    const inOrder = [...this.#targets].sort((a, b) => {
      return Number(b.name === preferServer) - Number(a.name === preferServer);
    });
    const worth = inOrder.filter(({ health }) => health.mayTry(now));
    return worth.length > 0 ? worth : inOrder;
  }

  /**
   * One request to one server: the same bytes again until an answer, the last try or the deadline.
   * "Nobody listens there" ends it at once, unless this is the last server: it may be restarting.
   */
  async #ask(
    target: Target,
    request: ClientRequest,
    { stop, giveUpAt, isLast }: { stop: AbortSignal; giveUpAt: number; isLast: boolean },
  ): Promise<Outcome> {
    const { secret, messageAuthenticator } = target;
    const exchange = { secret, authenticator: randomBytes(16) };
    const waiting = Promise.withResolvers<Packet | 'refused'>();
    let requestAuthenticator: Buffer = exchange.authenticator;
    let isRefused = false;
    let mayBeHeard = false;
    const onError = () => {
      isRefused = true;
      if (!isLast) waiting.resolve('refused');
    };
    const onDatagram = (datagram: Buffer) => {
      const { code: requestCode } = request;
      const expected = { requestCode, requestAuthenticator, secret, messageAuthenticator };
      const checked = checkReply(datagram, expected);
      if ('packet' in checked) waiting.resolve(checked.packet);
      else this.#refuse(target, checked.refusal);
    };
    const sentAt = performance.now();
    const slot = await takeInTime(target.pool.take({ onDatagram, onError }), { stop, giveUpAt });
    if (slot === null) return 'busy';
    if (slot === 'unreachable') {
      this.#noteSilence(target, sentAt);
      return 'unheard';
    }
    try {
      const { identifier } = slot;
      const bytes = signRequest({ ...fillIn(request, exchange), identifier }, secret);
      requestAuthenticator = bytes.subarray(4, 20);
      // A dead one's trial should cost its user little.
      let left = target.health.isDead && !isLast ? 1 : this.#bounds.triesPerServer;
      for (let wait = this.#bounds.firstWaitMs; left > 0; left -= 1) {
        isRefused = false;
        slot.send(bytes).catch(onError);
        const forMs = Math.min(wait * (0.9 + randomInt(201) / 1_000), giveUpAt - performance.now());
        const reply = await waitUpTo(waiting.promise, forMs, stop);
        mayBeHeard ||= !isRefused;
        if (reply === 'refused') break;
        if (reply) {
          this.#noteAnswer(target);
          return { packet: reply, exchange: { secret, authenticator: requestAuthenticator } };
        }
        if (performance.now() >= giveUpAt) break;
        wait = Math.min(wait * 2, this.#bounds.longestWaitMs);
      }
      this.#noteSilence(target, sentAt);
      return mayBeHeard ? 'unanswered' : 'unheard';
    } finally {
      slot.release();
    }
  }

  #noteAnswer(target: Target): void {
    if (!target.health.answered(performance.now())) return;
    clearTimeout(target.probe);
    this.#options.onServerState?.(target.name, 'alive');
  }

  #noteSilence(target: Target, sentAt: number): void {
    if (!target.health.wentUnanswered({ sentAt, now: performance.now() })) return;
    target.pool.retire();
    this.#options.onServerState?.(target.name, 'dead');
    this.#probeLater(target);
  }

  #probeLater(target: Target): void {
    clearTimeout(target.probe);
    if (this.#closing.signal.aborted) return;
    const inMs = this.#bounds.probeEveryMs * (0.9 + randomInt(201) / 1_000);
    target.probe = setTimeout(() => void this.#probe(target), inMs).unref();
  }

  // RFC 5997. A server that does not know Status-Server is tried with a request after `deadMs`.
  async #probe(target: Target): Promise<void> {
    const status = { code: packetCodes.statusServer, attributes: [] };
    const giveUpAt = performance.now() + this.#bounds.firstWaitMs;
    const stop = this.#closing.signal;
    await this.#ask(target, status, { stop, giveUpAt, isLast: false }).catch(() => undefined);
    if (target.health.isDead) this.#probeLater(target);
  }

  #refuse({ name }: Target, reason: ReplyRefusal): void {
    this.#refusals.add({ source: name, isKnown: true, reason }, performance.now());
  }
}

const userPassword = 2;

function fillIn({ code, attributes, password }: ClientRequest, exchange: Exchange) {
  const { authenticator } = exchange;
  const others = attributes.filter(({ type }) => type !== userPassword);
  if (!password) return { code, authenticator, attributes: others };
  const hidden = { type: userPassword, value: hideUserPassword(password, exchange) };
  return { code, authenticator, attributes: [...others, hidden] };
}

/** Looking up a name can take longer than we have; what comes too late is given back. */
async function takeInTime(
  taking: Promise<Slot | null>,
  { stop, giveUpAt }: { stop: AbortSignal; giveUpAt: number },
): Promise<Slot | null | 'unreachable'> {
  let isWanted = true;
  const settled = taking.then(
    (slot) => {
      if (!isWanted) slot?.release();
      return slot;
    },
    () => 'unreachable' as const,
  );
  try {
    const slot = await waitUpTo(settled, giveUpAt - performance.now(), stop);
    isWanted = slot !== undefined;
    return slot === undefined ? 'unreachable' : slot;
  } catch (error) {
    isWanted = false;
    throw error;
  }
}

/** The promise's value, or undefined after `forMs`; rejects when aborted. */
async function waitUpTo<T>(
  promise: Promise<T>,
  forMs: number,
  stop: AbortSignal,
): Promise<T | undefined> {
  const { promise: over, resolve, reject } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), Math.max(forMs, 0));
  const onAbort = () => reject(stop.reason as Error);
  stop.addEventListener('abort', onAbort, { once: true });
  if (stop.aborted) onAbort();
  try {
    return await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
    stop.removeEventListener('abort', onAbort);
  }
}
