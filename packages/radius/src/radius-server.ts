import type { RemoteInfo, Socket } from 'node:dgram';
import { setTimeout as wait } from 'node:timers/promises';

import { signReply } from './authenticators.ts';
import {
  checkRequest,
  type MessageAuthenticatorPolicy,
  type RequestCheck,
  type Service,
} from './check-request.ts';
import { revealUserPassword } from './hidden-attributes.ts';
import { normalizeAddress } from './ip-address.ts';
import { type Attribute, decodePacket, type Packet, packetCodes } from './radius-packet.ts';
import { RecentRequests } from './recent-requests.ts';
import { type Refusal, RefusalCounts } from './refusal-counts.ts';
import { bindUdpSocket, closeUdpSocket } from './udp-socket.ts';

/** Who may send: found by its address for every packet, so that a change works at once. */
export interface ServerClient {
  readonly name: string;
  /** Not empty. Give the same Buffer each time: what is derived from it is kept with it. */
  readonly secret: Buffer;
  readonly messageAuthenticator: MessageAuthenticatorPolicy;
  /** Requests that do not name their NAS are dropped: many send through this client's address. */
  readonly needsNas?: boolean;
}

export interface ServerRequest {
  readonly service: Service;
  /** 1 Access-Request or 4 Accounting-Request. */
  readonly code: number;
  readonly identifier: number;
  readonly authenticator: Buffer;
  readonly attributes: readonly Attribute[];
  /** The revealed User-Password: bytes, which may be no UTF-8. Null: none, or of a wrong form. */
  readonly password: Buffer | null;
  /** Normalised: an IPv4-mapped address is IPv4. */
  readonly from: { readonly address: string; readonly port: number };
}

/** Proxy-State and Message-Authenticator are the server's business and left out if given. */
export interface Reply {
  readonly code: number;
  readonly attributes: readonly Attribute[];
}

export type ServerRefusal =
  | 'unknown_client'
  /** From port 0, to which nothing can be sent: only who forges has it. */
  | 'port_zero'
  | 'malformed'
  | Exclude<RequestCheck, 'valid' | 'unsigned'>
  /** Served, since the client is only observed. */
  | 'message_authenticator_observed_missing'
  | 'too_many_pending'
  | 'handler_failed'
  | 'handler_timed_out'
  | 'reply_too_long'
  | 'reply_not_sent'
  | 'closing';

const servedOutcomes = ['handled', 'duplicate', 'status', 'status_unanswered'] as const;
export type Served = (typeof servedOutcomes)[number];

/** A datagram and what became of it, for `radius watch`. */
export interface SeenDatagram {
  readonly service: Service;
  readonly from: { readonly address: string; readonly port: number };
  /** Null: a stranger, whose datagram is not even read. */
  readonly client: string | null;
  readonly packet: { readonly code: number; readonly attributes: readonly Attribute[] } | null;
  readonly outcome: Served | ServerRefusal;
}

export interface ServerBounds {
  /** Handlers running at once. */
  maxPending: number;
  maxPendingPerClient: number;
  /** After this long a handler's signal is aborted and its request goes unanswered. */
  handleTimeoutMs: number;
  /** How long a reply is kept for duplicates (RFC 5080: 5 to 30 s). */
  keepRepliesMs: number;
  maxKeptReplies: number;
  maxKeptBytes: number;
  /** Replies that the kernel has not taken yet; more are dropped. */
  maxSendQueueBytes: number;
}

const defaultBounds: ServerBounds = {
  maxPending: 4_096,
  maxPendingPerClient: 2_048,
  handleTimeoutMs: 120_000,
  keepRepliesMs: 10_000,
  maxKeptReplies: 16_384,
  maxKeptBytes: 12 * 1024 * 1024,
  maxSendQueueBytes: 1024 * 1024,
};

export interface ServerOptions {
  /** Addresses are IPv4 or IPv6; port 0 takes a free one. */
  readonly listen: readonly { address: string; port: number; service: Service }[];
  /** Several workers on the same ports (SO_REUSEPORT); see DESIGN.md for what that costs. */
  readonly reusePort?: boolean;
  /** The address is normalised; the port is what the datagram came from. */
  readonly findClient: (address: string, port: number) => ServerClient | null;
  readonly handle: (
    request: ServerRequest,
    context: { client: ServerClient; signal: AbortSignal },
  ) => Promise<Reply | 'drop'>;
  /** False: Status-Server goes unanswered, so that clients turn to another server. */
  readonly isServing?: () => boolean;
  /** At most once a minute for each client, or stranger's address, and reason. Must not throw. */
  readonly onRefused?: (refusal: Refusal<ServerRefusal>) => void;
  /** What broke: a handler that threw, a reply that could not be made, a socket. Must not throw. */
  readonly onError?: (error: unknown) => void;
  /** Every datagram, while somebody watches: show its attributes by showAttributes only. */
  readonly onSeen?: (seen: SeenDatagram) => void;
  readonly bounds?: Partial<ServerBounds>;
}

const sweepEveryMs = 5_000;

/** The servers' side of RADIUS over UDP. Promises and bounds: DESIGN.md. */
export class RadiusServer implements AsyncDisposable {
  readonly #options: ServerOptions;
  readonly #bounds: ServerBounds;
  readonly #recent: RecentRequests;
  readonly #refusals: RefusalCounts<ServerRefusal>;
  readonly #pendingPerClient = new Map<string, number>();
  readonly #sockets: { socket: Socket; service: Service }[] = [];
  readonly #sweep: NodeJS.Timeout;
  readonly #counts = { received: 0, answered: 0, duplicates: 0 };
  #pending = 0;
  /** Sent together, once all that has arrived is read: whoever waits for them is woken once, not for each. */
  #replies: { bytes: Buffer; client: ServerClient; way: Way }[] = [];
  /** Replies on their way to the kernel. */
  #sending = 0;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #whenIdle: (() => void) | undefined;

  private constructor(options: ServerOptions) {
    this.#options = options;
    this.#bounds = { ...defaultBounds, ...options.bounds };
    const { keepRepliesMs, maxKeptReplies, maxKeptBytes } = this.#bounds;
    this.#recent = new RecentRequests({
      keepMs: keepRepliesMs,
      maxEntries: maxKeptReplies,
      maxBytes: maxKeptBytes,
    });
    this.#refusals = new RefusalCounts((refusal) => options.onRefused?.(refusal));
    this.#sweep = setInterval(() => {
      this.#recent.expire(performance.now());
      this.#refusals.flush(performance.now());
    }, sweepEveryMs).unref();
  }

  /** Binds all sockets; throws the system's error, with none left open, when one cannot be. */
  static async start(options: ServerOptions): Promise<RadiusServer> {
    const server = new RadiusServer(options);
    try {
      for (const { address, port, service } of options.listen) {
        const reusePort = options.reusePort ?? false;
        server.#serve(await bindUdpSocket({ address, port, reusePort }), service);
      }
      return server;
    } catch (error) {
      await server.close({ timeoutMs: 0 });
      throw error;
    }
  }

  /** The ports in the order of `listen`. */
  get ports(): number[] {
    return this.#sockets.map(({ socket }) => socket.address().port);
  }

  /** Figures since the start; `refused` holds known clients only. */
  counts(): {
    received: number;
    answered: number;
    duplicates: number;
    pending: number;
    keptReplies: number;
    keptBytes: number;
    refused: { source: string; reason: ServerRefusal; count: number }[];
  } {
    const { entries, bytes } = this.#recent.size;
    return {
      ...this.#counts,
      pending: this.#pending,
      keptReplies: entries,
      keptBytes: bytes,
      refused: this.#refusals.totals(),
    };
  }

  /** Takes nothing new, lets pending requests be answered for up to `timeoutMs`, aborts the rest. */
  async close({ timeoutMs = 5_000 }: { timeoutMs?: number } = {}): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    if (this.#pending + this.#sending > 0) await this.#untilIdle(timeoutMs);
    this.#state = 'closed';
    clearInterval(this.#sweep);
    this.#recent.abortAll(new Error('the RADIUS server closes'));
    await Promise.all(this.#sockets.map(({ socket }) => closeUdpSocket(socket)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #untilIdle(timeoutMs: number): Promise<void> {
    const deadline = new AbortController();
    const idle = new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
    });
    await Promise.race([
      idle,
      wait(timeoutMs, undefined, { signal: deadline.signal }).catch(() => undefined),
    ]);
    deadline.abort();
  }

  #serve(socket: Socket, service: Service): void {
    const at = this.#sockets.push({ socket, service }) - 1;
    socket.on('error', (error) => this.#options.onError?.(error));
    socket.on('message', (datagram, remote) => {
      try {
        this.#receive(datagram, { socket, service, at, remote });
      } catch (error) {
        // Nothing that came from outside may end the process; what throws here is the caller's.
        this.#options.onError?.(error);
      }
    });
  }

  #receive(datagram: Buffer, way: Way): void {
    this.#counts.received += 1;
    const address = normalizeAddress(way.remote.address) ?? way.remote.address;
    const client = this.#options.findClient(address, way.remote.port);
    const decoded = client && decodePacket(datagram);
    const packet = decoded && 'packet' in decoded ? decoded.packet : null;
    const outcome = client ? this.#judge(packet, client, { ...way, address }) : 'unknown_client';
    if (!isServed(outcome)) {
      this.#refuse({ source: client?.name ?? address, isKnown: client !== null }, outcome);
    }
    const { service, remote } = way;
    const from = { address, port: remote.port };
    this.#options.onSeen?.({ service, from, client: client?.name ?? null, packet, outcome });
  }

  #judge(
    packet: Packet | null,
    client: ServerClient,
    way: Way & { address: string },
  ): Served | ServerRefusal {
    if (way.remote.port === 0) return 'port_zero';
    return packet ? this.#take(packet, client, way) : 'malformed';
  }

  #take(
    packet: Packet,
    client: ServerClient,
    way: Way & { address: string },
  ): Served | ServerRefusal {
    const { secret, messageAuthenticator: policy, needsNas = false } = client;
    const check = checkRequest(packet, { service: way.service, secret, policy, needsNas });
    if (check === 'unsigned') {
      this.#refuse(
        { source: client.name, isKnown: true },
        'message_authenticator_observed_missing',
      );
    } else if (check !== 'valid') return check;
    if (this.#state !== 'open') return 'closing';
    if (packet.code === packetCodes.statusServer) return this.#answerStatus(packet, client, way);
    return this.#begin(packet, client, way);
  }

  // Not kept for duplicates: what matters is how it is now (RFC 5997 §4.2).
  #answerStatus(packet: Packet, client: ServerClient, way: Way): Served {
    if (this.#options.isServing?.() === false) return 'status_unanswered';
    const { accessAccept, accountingResponse } = packetCodes;
    const code = way.service === 'authentication' ? accessAccept : accountingResponse;
    const reply = this.#makeReply({ code, attributes: [] }, packet, client);
    if (reply) this.#send(reply, client, way);
    return 'status';
  }

  #begin(
    packet: Packet,
    client: ServerClient,
    way: Way & { address: string },
  ): Served | ServerRefusal {
    const key = `${way.at} ${way.remote.port} ${packet.identifier} ${way.remote.address}`;
    const begun = this.#recent.begin(key, packet.bytes, performance.now());
    if (begun.kind !== 'new') {
      this.#counts.duplicates += 1;
      if (begun.kind === 'answered') this.#send(begun.reply, client, way);
      return 'duplicate';
    }
    const pendingOfClient = this.#pendingPerClient.get(client.name) ?? 0;
    const { maxPending, maxPendingPerClient } = this.#bounds;
    if (this.#pending >= maxPending || pendingOfClient >= maxPendingPerClient) {
      begun.finish(null, performance.now());
      return 'too_many_pending';
    }
    this.#pending += 1;
    this.#pendingPerClient.set(client.name, pendingOfClient + 1);
    const from = { address: way.address, port: way.remote.port };
    const request = makeRequest(packet, client, way.service, from);
    this.#handle(request, client, begun.abort)
      .then((reply) => {
        this.#release(client.name);
        const bytes = reply && this.#makeReply(reply, packet, client);
        if (begun.finish(bytes, performance.now()) && bytes) this.#send(bytes, client, way);
        this.#noteIdle();
      })
      .catch((error: unknown) => this.#options.onError?.(error));
    return 'handled';
  }

  // Never rejects. Waits for the handler even when its time is over: it still holds memory.
  async #handle(
    request: ServerRequest,
    client: ServerClient,
    abort: AbortController,
  ): Promise<Reply | null> {
    const known = { source: client.name, isKnown: true };
    const { signal } = abort;
    const timer = setTimeout(() => {
      this.#refuse(known, 'handler_timed_out');
      abort.abort(new Error(`no answer within ${this.#bounds.handleTimeoutMs} ms`));
    }, this.#bounds.handleTimeoutMs);
    try {
      const reply = await this.#options.handle(request, { client, signal });
      return reply === 'drop' || signal.aborted ? null : reply;
    } catch (error) {
      if (signal.aborted) return null;
      this.#refuse(known, 'handler_failed');
      this.#options.onError?.(error);
      return null;
    } finally {
      clearTimeout(timer);
    }
  }

  #makeReply(reply: Reply, request: Packet, client: ServerClient): Buffer | null {
    const isSet =
      (type: number) =>
      ({ type: other }: Attribute) =>
        other === type;
    const withMessageAuthenticator =
      request.code !== packetCodes.accountingRequest ||
      request.attributes.some(isSet(messageAuthenticator));
    const own = reply.attributes.filter(({ type }) => type !== proxyState);
    const attributes = [...own, ...request.attributes.filter(isSet(proxyState))];
    try {
      const { secret } = client;
      return signReply(
        { code: reply.code, attributes },
        { identifier: request.identifier, authenticator: request.authenticator },
        { secret, withMessageAuthenticator },
      );
    } catch (error) {
      this.#refuse({ source: client.name, isKnown: true }, 'reply_too_long');
      this.#options.onError?.(error);
      return null;
    }
  }

  #send(bytes: Buffer, client: ServerClient, way: Way): void {
    if (this.#replies.push({ bytes, client, way }) === 1) setImmediate(() => this.#sendReplies());
    this.#sending += 1;
  }

  #sendReplies(): void {
    const replies = this.#replies;
    this.#replies = [];
    for (const { bytes, client, way } of replies) {
      const isSent = (error: unknown) => {
        this.#sending -= 1;
        if (error) this.#refuse({ source: client.name, isKnown: true }, 'reply_not_sent');
        else this.#counts.answered += 1;
        this.#noteIdle();
      };
      const { socket, remote } = way;
      const isFull = () => socket.getSendQueueSize() > this.#bounds.maxSendQueueBytes;
      if (this.#state === 'closed' || isFull()) isSent('closed or full');
      else socket.send(bytes, remote.port, remote.address, isSent);
    }
  }

  #noteIdle(): void {
    if (this.#pending + this.#sending === 0) this.#whenIdle?.();
  }

  #release(clientName: string): void {
    this.#pending -= 1;
    const left = (this.#pendingPerClient.get(clientName) ?? 1) - 1;
    if (left > 0) this.#pendingPerClient.set(clientName, left);
    else this.#pendingPerClient.delete(clientName);
  }

  #refuse(who: { source: string; isKnown: boolean }, reason: ServerRefusal): void {
    this.#refusals.add({ ...who, reason }, performance.now());
  }
}

function isServed(outcome: Served | ServerRefusal): outcome is Served {
  return (servedOutcomes as readonly string[]).includes(outcome);
}

const proxyState = 33;
const messageAuthenticator = 80;
const userPassword = 2;

/** Where a datagram came in, and from whom. */
interface Way {
  readonly socket: Socket;
  readonly service: Service;
  /** Which of the sockets. */
  readonly at: number;
  readonly remote: RemoteInfo;
}

function makeRequest(
  packet: Packet,
  { secret }: ServerClient,
  service: Service,
  from: { address: string; port: number },
): ServerRequest {
  const { code, identifier, authenticator, attributes } = packet;
  const hidden = attributes.find(({ type }) => type === userPassword);
  const password = hidden ? revealUserPassword(hidden.value, { secret, authenticator }) : null;
  return { service, code, identifier, authenticator, attributes, password, from };
}
