import { setTimeout as sleep } from 'node:timers/promises';
import { readApplied, readSettings, type Database } from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import {
  RadiusServer,
  type Reply,
  type SeenDatagram,
  type ServerRequest,
} from '@countersign/radius';
import type { Logger } from 'pino';
import type { WorkerConfig } from '../config.ts';
import type { DatabaseGate } from '../database-gate.ts';
import type { WorkerMetrics } from '../metrics.ts';
import { RadiusAccounting, type AccountingPorts } from './accounting.ts';
import { DenialPace } from './denial-pace.ts';
import { handleAccessRequest, type AccessPorts } from './handle-access-request.ts';
import { ParkedAttributes, type ParkedAttributesOptions } from './parked-attributes.ts';
import { makeRadiusClients, type FoundClients, type FrontClient } from './radius-clients.ts';
import { RadiusTargets } from './radius-targets.ts';

export type RadiusFrontOptions = Omit<AccessPorts, 'joinKey' | 'targets' | 'parked' | 'pace'> &
  AccountingPorts & {
    listen: NonNullable<WorkerConfig['radius']>;
    db: Database;
    gate: DatabaseGate;
    keys: { seed: PurposeKey; 'attempt-id': PurposeKey; parked: PurposeKey };
    parkedEntries: ParkedAttributesOptions['entries'];
    /** While it is not, requests are dropped, and clients turn to another node. */
    isReady(): Promise<boolean>;
    metrics: Pick<WorkerMetrics, 'watchRadius'>;
    log: Pick<Logger, 'info' | 'warn' | 'error'>;
    onSeen?: (seen: SeenDatagram) => void;
  };

/** A change of a client is in force after this. */
const FOLLOW_MS = 500;
const CLOSE_MS = 3000;
/** More than anybody is waited for. */
const HANDLE_MS = 150_000;

/** RADIUS of one worker: clients as the settings have them, every sign-in through `verify(attempt)`. */
export class RadiusFront implements AsyncDisposable {
  readonly #options: RadiusFrontOptions;
  readonly #accounting: RadiusAccounting;
  readonly #targets: RadiusTargets;
  readonly #parked: ParkedAttributes;
  readonly #pace = new DenialPace();
  readonly #secrets = new Map<string, Buffer>();
  readonly #closing = new AbortController();
  #clients: FoundClients = { find: () => null, unusable: [] };
  #revision: number | null = null;
  #isServing = false;
  #server!: RadiusServer;
  #following!: Promise<void>;

  private constructor(options: RadiusFrontOptions) {
    this.#options = options;
    this.#accounting = new RadiusAccounting(options);
    const { db, gate, keys, parkedEntries: entries, log } = options;
    this.#targets = new RadiusTargets({ seedKey: keys.seed, log });
    this.#parked = new ParkedAttributes({ db, gate, key: keys.parked, entries, log });
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
      ...(options.onSeen && { onSeen: options.onSeen }),
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

  async #handle(
    request: ServerRequest,
    client: FrontClient,
    signal: AbortSignal,
  ): Promise<Reply | 'drop'> {
    if (!this.#isServing) return 'drop';
    if (request.service === 'accounting') return this.#accounting.take(request, client);
    const { verify, awaitAnswer, refuse, keys } = this.#options;
    const ports = { verify, awaitAnswer, refuse, targets: this.#targets, parked: this.#parked };
    const own = { joinKey: keys['attempt-id'], pace: this.#pace };
    return handleAccessRequest(request, client, { ...ports, ...own }, signal);
  }

  async #follow(): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      await sleep(FOLLOW_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      await this.#refresh();
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
    await this.#server.close({ timeoutMs: CLOSE_MS });
    await this.#following;
    await this.#targets[Symbol.asyncDispose]();
  }
}
