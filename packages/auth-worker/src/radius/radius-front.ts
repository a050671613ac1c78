import { setTimeout as sleep } from 'node:timers/promises';
import {
  ProblemError,
  type RadiusPorts,
  type RadiusTest,
  type RadiusTestReport,
} from '@countersign/api';
import { readApplied, readSettings, type Database } from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import { RadiusServer, type Reply, type ServerRequest } from '@countersign/radius';
import { serverKey } from '@countersign/verification';
import type { Logger } from 'pino';
import type { WorkerConfig } from '../config.ts';
import type { DatabaseGate } from '../database-gate.ts';
import type { WorkerEvents } from '../events.ts';
import type { WorkerMetrics } from '../metrics.ts';
import { RadiusAccounting, type AccountingPorts } from './accounting.ts';
import { DenialPace } from './denial-pace.ts';
import {
  isKnownName,
  lineOfDatagram,
  lineOfRequest,
  nameInAccounting,
  whyJudged,
  type JudgedSignIn,
} from './describe-seen.ts';
import { handleAccessRequest } from './handle-access-request.ts';
import { hearVerdicts, type JudgePorts } from './hear-verdicts.ts';
import { ParkedAttributes, type ParkedAttributesOptions } from './parked-attributes.ts';
import { makeRadiusClients, type FoundClients, type FrontClient } from './radius-clients.ts';
import { RadiusTargets } from './radius-targets.ts';
import { WatchTeller } from './tell-watchers.ts';
import { trySignIn } from './try-sign-in.ts';
import { RadiusWatchers } from './watch-front.ts';

export type RadiusFrontOptions = JudgePorts &
  AccountingPorts & {
    node: string;
    /** Which of the node's workers this is, and how many there are. */
    worker: number;
    workers: number;
    listen: NonNullable<WorkerConfig['radius']>;
    db: Database;
    gate: DatabaseGate;
    keys: Record<'seed' | 'command-id' | 'parked', PurposeKey>;
    parkedEntries: ParkedAttributesOptions['entries'];
    /** While it is not, requests are dropped, and clients turn to another node. */
    isReady(): Promise<boolean>;
    events: Pick<WorkerEvents, 'radiusTested'>;
    metrics: Pick<WorkerMetrics, 'watchRadius'>;
    log: Pick<Logger, 'info' | 'warn' | 'error'>;
  };

/** A change of a client is in force after this. */
const FOLLOW_MS = 500;
const CLOSE_MS = 3000;
/** More than anybody is waited for. */
const HANDLE_MS = 150_000;
/** Tests at once: each may wait long. */
const TESTS_MAX = 4;

/** RADIUS of one worker: clients as the settings have them, every sign-in through `verify(attempt)`. */
export class RadiusFront implements AsyncDisposable, RadiusPorts {
  readonly #options: RadiusFrontOptions;
  readonly #accounting: RadiusAccounting;
  readonly #targets: RadiusTargets;
  readonly #parked: ParkedAttributes;
  readonly #pace = new DenialPace();
  readonly #teller: WatchTeller;
  readonly #watchers: RadiusWatchers;
  readonly #secrets = new Map<string, Buffer>();
  readonly #closing = new AbortController();
  #clients: FoundClients = { find: () => null, unusable: [] };
  #revision: number | null = null;
  #isServing = false;
  #tests = 0;
  #server!: RadiusServer;
  #following!: Promise<void>;

  private constructor(options: RadiusFrontOptions) {
    this.#options = options;
    this.#accounting = new RadiusAccounting(options);
    const { db, gate, keys, parkedEntries: entries, log } = options;
    this.#targets = new RadiusTargets({ seedKey: keys.seed, log });
    this.#parked = new ParkedAttributes({ db, gate, key: keys.parked, entries, log });
    const { node, worker, workers } = options;
    this.#teller = new WatchTeller({ db, gate, worker });
    this.#watchers = new RadiusWatchers({ db, node, workers });
  }

  /** Throws the system's error when an address cannot be listened at. */
  static async start(options: RadiusFrontOptions): Promise<RadiusFront> {
    const front = new RadiusFront(options);
    await front.#refresh();
    const { hosts, authenticationPort, accountingPort } = options.listen;
    const { log } = options;
    front.#server = await RadiusServer.start({
      listen: hosts.flatMap((address) => [
        { address, port: authenticationPort, service: 'authentication' as const },
        { address, port: accountingPort, service: 'accounting' as const },
      ]),
      reusePort: true,
      findClient: (address) => front.#clients.find(address),
      // What findClient gives is what comes back.
      handle: (request, { client, signal }) =>
        front.#handle(request, client as FrontClient, signal),
      bounds: { handleTimeoutMs: HANDLE_MS },
      isServing: () => front.#isServing,
      onRefused: ({ source, reason, count }) =>
        log.warn({ source, reason, count }, 'RADIUS requests were refused'),
      onError: (error) => log.error({ error: String(error) }, 'RADIUS'),
      onSeen(seen) {
        // What is handled is told of when it is known how it ends.
        if (!front.#teller.isWatched || seen.outcome === 'handled') return;
        front.#tell(lineOfDatagram(seen));
      },
    });
    options.metrics.watchRadius(() => front.#server.counts());
    front.#following = front.#follow();
    log.info({ hosts, authenticationPort, accountingPort }, 'listening for RADIUS');
    return front;
  }

  /** In the order of the hosts: of authentication, then of accounting. */
  get ports(): number[] {
    return this.#server.ports;
  }

  /** See {@link RadiusPorts}. What answers a question may be asked of any worker of any node. */
  async test(test: RadiusTest): Promise<RadiusTestReport> {
    if (this.#tests >= TESTS_MAX) {
      const detail = `At most ${TESTS_MAX} sign-ins are tested at once here.`;
      throw new ProblemError(429, 'too_many_tests', detail);
    }
    this.#tests += 1;
    try {
      const report = await this.#try(test);
      await this.#options.events.radiusTested(test, report);
      return report;
    } finally {
      this.#tests -= 1;
    }
  }

  watch(watch: Parameters<RadiusPorts['watch']>[0]): Promise<void> {
    return this.#watchers.watch(watch);
  }

  #try(test: RadiusTest): Promise<RadiusTestReport> {
    const { node, listen, verify, awaitAnswer, refuse } = this.#options;
    const { actor: testBy } = test;
    return trySignIn(
      {
        node,
        listensAt: listen.hosts.map((host, index) =>
          serverKey({ host, port: this.ports[2 * index]! }),
        ),
        isServing: () => this.#isServing,
        find: (address) => this.#clients.find(address),
        problemOf: ({ name }) =>
          this.#clients.unusable.find(({ client }) => client === name)?.problem ?? null,
        verify,
        awaitAnswer,
        refuse,
        judge: (request, client, how) => this.#take(request, client, { ...how, testBy }),
      },
      test,
    );
  }

  #handle(
    request: ServerRequest,
    client: FrontClient,
    signal: AbortSignal,
  ): Promise<Reply | 'drop'> {
    return this.#take(request, client, { ports: this.#options, signal, testBy: null });
  }

  /** Answers, and tells whoever watches. */
  async #take(
    request: ServerRequest,
    client: FrontClient,
    how: { ports: JudgePorts; signal: AbortSignal; testBy: string | null },
  ): Promise<Reply | 'drop'> {
    const { ports, signal, testBy } = how;
    if (!this.#teller.isWatched) return this.#answer(request, client, ports, signal);
    const startedAt = performance.now();
    let judged: JudgedSignIn | null = null;
    let reply: Reply | 'drop' | null = null;
    const heard = hearVerdicts(ports, (latest) => (judged = latest));
    try {
      reply = await this.#answer(request, client, heard, signal);
      return reply;
    } finally {
      const tookMs = performance.now() - startedAt;
      const why = this.#whyOf(request, judged);
      const about = { client: client.name, testBy, reply, why, tookMs };
      // The answer does not wait for it.
      this.#userOf(request, judged)
        .then((user) => this.#tell(lineOfRequest(request, { ...about, user })))
        .catch((error: unknown) => this.#options.log.error({ error: String(error) }, 'RADIUS'));
    }
  }

  async #answer(
    request: ServerRequest,
    client: FrontClient,
    { verify, awaitAnswer, refuse }: JudgePorts,
    signal: AbortSignal,
  ): Promise<Reply | 'drop'> {
    if (!this.#isServing) return 'drop';
    if (request.service === 'accounting') return this.#accounting.take(request, client);
    const ports = { verify, awaitAnswer, refuse, targets: this.#targets, parked: this.#parked };
    const own = { joinKey: this.#options.keys['command-id'], pace: this.#pace };
    const told = await handleAccessRequest(request, client, { ...ports, ...own }, signal);
    // Somebody may have been waited for, and the client be removed or disabled meanwhile.
    const served = this.#clients.find(request.from.address);
    return served?.document.id === client.document.id ? told : 'drop';
  }

  /** Names that are nobody's as the events have them: people type passwords there. */
  async #userOf(request: ServerRequest, judged: JudgedSignIn | null): Promise<string | null> {
    const isAccounting = request.service === 'accounting';
    const name = isAccounting ? nameInAccounting(request) : (judged?.attempt.username ?? null);
    if (name === null || (judged && isKnownName(judged))) return name;
    return this.#options.whoIs(name).then(
      // Of a user as it was typed.
      ({ userId, username }) => (judged && userId !== null ? name : username),
      () => null,
    );
  }

  #whyOf(request: ServerRequest, judged: JudgedSignIn | null): string | null {
    if (judged) return whyJudged(judged);
    return request.service === 'accounting' || this.#isServing
      ? null
      : 'this node cannot verify now';
  }

  #tell(line: ReturnType<typeof lineOfDatagram>): void {
    const at = new Date().toISOString();
    this.#teller.add({ kind: 'seen', at, worker: this.#options.worker, ...line });
  }

  async #follow(): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      await sleep(FOLLOW_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      await this.#refresh();
      await this.#teller.look();
    }
  }

  /** Never rejects: what was known last stays, and nothing is served while it is not sure. */
  async #refresh(): Promise<void> {
    const { db, gate, isReady, keys, log } = this.#options;
    try {
      this.#isServing = await isReady();
      const applied = await gate.pass(() => readApplied(db));
      if (!applied || applied.settingsRevision === this.#revision) return;
      const settings = await gate.pass(() => readSettings(db));
      this.#clients = makeRadiusClients(settings, { seedKey: keys.seed, secrets: this.#secrets });
      for (const { target, problem } of this.#targets.use(settings.radiusTargets)) {
        log.error({ target, problem }, 'a RADIUS target cannot be asked');
      }
      this.#revision = settings.revision;
      for (const { client, problem } of this.#clients.unusable) {
        log.error({ client, problem }, 'a RADIUS client cannot be served');
      }
    } catch (error) {
      this.#isServing = false;
      log.warn({ error: String(error) }, 'the RADIUS clients could not be read');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#watchers[Symbol.asyncDispose]();
    await this.#server.close({ timeoutMs: CLOSE_MS });
    await this.#following;
    await this.#teller[Symbol.asyncDispose]();
    await this.#targets[Symbol.asyncDispose]();
  }
}
