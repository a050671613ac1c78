import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeAttribute, packetCodes } from '@countersign/radius';
import { checkReply, hideUserPassword, signRequest } from '@countersign/radius/testing';
import type { Series } from './percentile.ts';

/** `station`: whose sign-in it is; from another one it is another. */
export type SignIn = { username: string; code: string; station?: string };

export type LoadFigures = Series & {
  rejected: number;
  /** No reply within {@link LOST_AFTER_MS}: nothing is sent again. */
  lost: number;
  /** Replies that prove nothing: a wrong authenticator, or too late. */
  unbelieved: number;
};

type Waiting = {
  requestAuthenticator: Buffer;
  startedAt: number;
  done: (kind: 'accepted' | 'rejected' | 'lost') => void;
};
type Run = { startedAt: number; latencies: number[]; rejected: number; lost: number };
type Lane = { socket: Socket; waiting: (Waiting | null)[]; next: number };

const IDENTIFIERS = 256;
const LANES_PER_SERVER = 8;
const LOST_AFTER_MS = 3000;
const receiveBufferBytes = 4 * 1024 * 1024;

/** Sends PAP sign-ins to RADIUS servers in turn, from 8 source ports to each, and checks what comes back. */
export class RadiusLoad implements AsyncDisposable {
  readonly #lanes: Lane[];
  readonly #secret: Buffer;
  readonly #sweep: NodeJS.Timeout;
  #turn = 0;
  #unbelieved = 0;

  private constructor(lanes: Lane[], secret: Buffer) {
    this.#lanes = lanes;
    this.#secret = secret;
    for (const lane of lanes) lane.socket.on('message', (bytes) => this.#receive(lane, bytes));
    this.#sweep = setInterval(() => this.#giveUp(), 100);
  }

  /** Servers on loopback that all share one secret. */
  static async open({
    ports,
    secret,
  }: {
    ports: readonly number[];
    secret: string;
  }): Promise<RadiusLoad> {
    const lanes: Lane[] = [];
    // One server after the other, so that the sockets in turn are those of all of them.
    for (let n = 0; n < LANES_PER_SERVER * ports.length; n += 1) {
      const socket = createSocket('udp4');
      socket.connect(ports[n % ports.length]!, '127.0.0.1');
      await once(socket, 'connect');
      socket.setRecvBufferSize(receiveBufferBytes);
      // Nobody listens: what is lost is counted.
      socket.on('error', () => undefined);
      lanes.push({ socket, waiting: Array.from({ length: IDENTIFIERS }, () => null), next: 0 });
    }
    return new RadiusLoad(lanes, Buffer.from(secret));
  }

  /** What one sign-in comes to. */
  ask(signIn: SignIn): Promise<'accepted' | 'rejected' | 'lost'> {
    return new Promise((resolve) => {
      this.#send(signIn, performance.now(), resolve);
    });
  }

  /** So many sign-ins at any time, until the time is over or there are no more. */
  async runClosed(options: {
    atOnce: number;
    durationMs: number;
    next: () => SignIn | null;
  }): Promise<LoadFigures> {
    const { atOnce, durationMs, next } = options;
    const run: Run = { startedAt: performance.now(), latencies: [], rejected: 0, lost: 0 };
    const endAt = run.startedAt + durationMs;
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        for (let now = run.startedAt; now < endAt; now = performance.now()) {
          const signIn = next();
          if (!signIn) return;
          await this.#measure(run, signIn, now);
        }
      }),
    );
    return this.#end(run);
  }

  /** Sign-ins at a steady rate whatever the answers take; their time counts from when they were due. */
  async runOpen(options: {
    perSecond: number;
    durationMs: number;
    next: () => SignIn | null;
  }): Promise<LoadFigures> {
    const { perSecond, durationMs, next } = options;
    const run: Run = { startedAt: performance.now(), latencies: [], rejected: 0, lost: 0 };
    const pending: Promise<void>[] = [];
    const total = Math.floor((perSecond * durationMs) / 1000);
    for (let n = 0; n < total; n += 1) {
      const dueAt = run.startedAt + (n * 1000) / perSecond;
      if (dueAt - performance.now() > 1) await sleep(1);
      while (dueAt > performance.now()) await sleep(1);
      const signIn = next();
      if (!signIn) break;
      pending.push(this.#measure(run, signIn, dueAt));
    }
    await Promise.all(pending);
    return this.#end(run);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweep);
    for (const { socket } of this.#lanes) socket.close();
  }

  #end(run: Run): LoadFigures {
    const { startedAt, ...counted } = run;
    const unbelieved = this.#unbelieved;
    this.#unbelieved = 0;
    const errors = run.rejected + run.lost;
    return { ...counted, errors, unbelieved, durationMs: performance.now() - startedAt };
  }

  #measure(run: Run, signIn: SignIn, startedAt: number): Promise<void> {
    return new Promise((resolve) => {
      this.#send(signIn, startedAt, (kind) => {
        if (kind === 'accepted') run.latencies.push(performance.now() - startedAt);
        else run[kind] += 1;
        resolve();
      });
    });
  }

  #send(
    { username, code, station = 'bench' }: SignIn,
    startedAt: number,
    done: Waiting['done'],
  ): void {
    const lane = this.#lanes[(this.#turn += 1) % this.#lanes.length]!;
    const identifier = takeIdentifier(lane);
    // More than that under way: the server is far behind.
    if (identifier === null) return done('lost');
    const requestAuthenticator = randomBytes(16);
    const secret = this.#secret;
    const hidden = hideUserPassword(Buffer.from(code), {
      secret,
      authenticator: requestAuthenticator,
    });
    const bytes = signRequest(
      {
        code: packetCodes.accessRequest,
        identifier,
        authenticator: requestAuthenticator,
        attributes: [
          makeAttribute('User-Name', username),
          makeAttribute('User-Password', hidden),
          makeAttribute('NAS-Identifier', station),
        ],
      },
      secret,
    );
    lane.waiting[identifier] = { requestAuthenticator, startedAt, done };
    lane.socket.send(bytes);
  }

  #receive(lane: Lane, bytes: Buffer): void {
    const identifier = bytes[1] ?? 0;
    const waiting = lane.waiting[identifier];
    const checked =
      waiting &&
      checkReply(bytes, {
        requestCode: packetCodes.accessRequest,
        requestAuthenticator: waiting.requestAuthenticator,
        secret: this.#secret,
        messageAuthenticator: 'require',
      });
    if (!checked || !('packet' in checked)) {
      this.#unbelieved += 1;
      return;
    }
    lane.waiting[identifier] = null;
    const { accessAccept } = packetCodes;
    waiting.done(checked.packet.code === accessAccept ? 'accepted' : 'rejected');
  }

  #giveUp(): void {
    const before = performance.now() - LOST_AFTER_MS;
    for (const { waiting } of this.#lanes) {
      for (const [identifier, one] of waiting.entries()) {
        if (!one || one.startedAt > before) continue;
        waiting[identifier] = null;
        one.done('lost');
      }
    }
  }
}

/** In turn, so that none is soon used again; null: all are. */
function takeIdentifier(lane: Lane): number | null {
  for (let tried = 0; tried < IDENTIFIERS; tried += 1) {
    const identifier = lane.next;
    lane.next = (identifier + 1) % IDENTIFIERS;
    if (!lane.waiting[identifier]) return identifier;
  }
  return null;
}
