import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request, type Dispatcher } from 'undici';
import type { History } from '../history/history.ts';

export type ClusterReply = {
  incarnation: { number: number; id: string };
  epoch: number;
  master: string | null;
  quorum: boolean;
  logReplicas: number;
  logServers: { name: string; online: boolean }[];
  failover: string;
  degraded: boolean;
  answeredBy: string;
  nodes: {
    name: string;
    role: string;
    online: boolean;
    revision: number;
    digest: string;
    digestComparable: boolean;
    behind: number;
    version: string;
    clockOffsetMs: number;
    problems: string[];
  }[];
};

export type VerificationReply = {
  id: string;
  status: 'approved' | 'denied' | 'challenge' | 'pending';
  reason?: string;
  skipped?: string;
  challenge?: string;
  asks?: string[];
  sentTo?: string;
  degraded: boolean;
};

export type Reply<T> = { status: number; body: T & { code?: string; detail?: string } };

// Idle connections end here well before the server ends them: no request is sent into a closing one.
const agent = new Agent({
  connections: 256,
  pipelining: 1,
  keepAliveTimeout: 10_000,
  keepAliveMaxTimeout: 10_000,
});

/** Every request on a connection of its own: they spread over all workers of a node. */
export const freshConnections = new Agent({ pipelining: 0 });

/** Answers to a write after which it is repeated under its key: docs/failover.md. */
const REPEATED_AFTER = ['master_offline', 'busy', 'outcome_unknown', 'target_behind'];
const REPEATED_FOR_MS = 30_000;
const REPEATED_EVERY_MS = 250;

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
type CallOptions = {
  body?: object;
  idempotencyKey?: string;
  headers?: Record<string, string>;
  timeoutMs?: number;
};

/**
 * The HTTP API as a client sees it; throws on connection errors and after `timeoutMs`. What it verifies and changes
 * stands in the cluster's history.
 */
export class ApiClient {
  readonly url: string;
  readonly node: string;
  readonly history: History;
  readonly #apiKey: string;
  readonly #dispatcher: Dispatcher;
  readonly #number: number;

  constructor(
    node: { name: string; url: string },
    about: { apiKey: string; history: History; dispatcher?: Dispatcher },
  ) {
    this.url = node.url;
    this.node = node.name;
    this.history = about.history;
    this.#apiKey = about.apiKey;
    this.#dispatcher = about.dispatcher ?? agent;
    this.#number = about.history.newClient();
  }

  async call<T = Record<string, unknown>>(
    method: Method,
    path: string,
    options: CallOptions = {},
  ): Promise<Reply<T>> {
    const { node } = this;
    const { body, idempotencyKey } = options;
    const end = this.history.begin(this.#number, { node, method, path, body, idempotencyKey });
    try {
      const reply = await this.#send<T>(method, path, options);
      end(reply);
      return reply;
    } catch (error) {
      end({ broke: error });
      throw error;
    }
  }

  async #send<T>(method: Method, path: string, options: CallOptions): Promise<Reply<T>> {
    const timeoutMs = options.timeoutMs ?? 15_000;
    const response = await request(`${this.url}${path}`, {
      method,
      dispatcher: this.#dispatcher,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      signal: AbortSignal.timeout(timeoutMs),
      headers: {
        authorization: `Bearer ${this.#apiKey}`,
        ...options.headers,
        ...(options.body && { 'content-type': 'application/json' }),
        ...(options.idempotencyKey && { 'idempotency-key': options.idempotencyKey }),
      },
      ...(options.body && { body: JSON.stringify(options.body) }),
    });
    const text = await response.body.text();
    return { status: response.statusCode, body: text === '' ? {} : JSON.parse(text) };
  }

  async cluster(): Promise<ClusterReply> {
    const { status, body } = await this.call<ClusterReply>('GET', '/api/v1/cluster', {
      timeoutMs: 5000,
    });
    if (status !== 200) throw new Error(`cluster: ${status} ${body.code}`);
    return body;
  }

  verify(
    body: { username: string; code: string; application?: string },
    options: { idempotencyKey?: string; timeoutMs?: number } = {},
  ): Promise<Reply<VerificationReply>> {
    return this.call('POST', '/api/v1/verifications', { body, ...options });
  }

  /**
   * As {@link call}, but anything except success throws. A write that finds no master for a moment is repeated, under
   * its key, as its answer asks.
   */
  async done<T = Record<string, unknown>>(
    method: Method,
    path: string,
    body?: object,
    { idempotencyKey }: { idempotencyKey?: string } = {},
  ): Promise<T> {
    const isWrite = method !== 'GET' && !path.startsWith('/api/v1/verifications');
    const options = {
      ...(body && { body }),
      ...(isWrite && { idempotencyKey: idempotencyKey ?? randomUUID() }),
    };
    const until = performance.now() + REPEATED_FOR_MS;
    for (;;) {
      const { status, body: told } = await this.call<T>(method, path, options);
      if (status < 300) return told;
      const mayCome = isWrite && REPEATED_AFTER.includes(told.code ?? '');
      if (!mayCome || performance.now() > until) {
        throw new Error(`${method} ${path}: ${status} ${told.code} ${told.detail}`);
      }
      await sleep(REPEATED_EVERY_MS);
    }
  }
}
