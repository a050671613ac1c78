import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import type { FloodFigures, FloodOptions } from './flood.ts';
import { requestBytes } from './send-raw.ts';

const TICK_MS = 5;
const MAX_CONNECTIONS = 1000;

type Outcome = (outcome: string) => void;

/** One node over as many connections as are needed, one request at a time on each; cheaper than an HTTP client. */
class Target {
  readonly #url: URL;
  readonly #idle: Socket[] = [];
  readonly #waiting: { bytes: string; tell: Outcome }[] = [];
  readonly #tell = new Map<Socket, Outcome>();
  #connections = 0;

  constructor(url: string) {
    this.#url = new URL(url);
  }

  send(bytes: string): Promise<string> {
    return new Promise((tell) => {
      const socket = this.#idle.pop() ?? this.#connect();
      if (socket) this.#use(socket, bytes, tell);
      else this.#waiting.push({ bytes, tell });
    });
  }

  close(): void {
    for (const socket of this.#idle) socket.destroy();
  }

  #use(socket: Socket, bytes: string, tell: Outcome): void {
    this.#tell.set(socket, tell);
    socket.write(bytes);
  }

  #connect(): Socket | null {
    if (this.#connections >= MAX_CONNECTIONS) return null;
    this.#connections += 1;
    const socket = connect(Number(this.#url.port), this.#url.hostname);
    socket.setNoDelay(true);
    let received = '';
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      if (!isWhole(received)) return;
      const outcome = outcomeOf(received);
      received = '';
      this.#done(socket, outcome);
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#connections -= 1;
      this.#tell.get(socket)?.('connection lost');
      this.#tell.delete(socket);
    });
    return socket;
  }

  #done(socket: Socket, outcome: string): void {
    this.#tell.get(socket)?.(outcome);
    this.#tell.delete(socket);
    const next = this.#waiting.shift();
    if (next) this.#use(socket, next.bytes, next.tell);
    else this.#idle.push(socket);
  }
}

function isWhole(response: string): boolean {
  const headEnd = response.indexOf('\r\n\r\n');
  const length = /\r\ncontent-length: (\d+)/i.exec(response)?.[1];
  return headEnd >= 0 && length !== undefined && response.length >= headEnd + 4 + Number(length);
}

function outcomeOf(response: string): string {
  const told = /"(?:reason|code)":"(\w+)"/.exec(response) ?? /"status":"(\w+)"/.exec(response);
  return told?.[1] ?? response.slice(9, 12);
}

const { urls, apiKey, method, path, bodies, ratePerSecond } = workerData as FloodOptions;
const targets = urls.map((url) => new Target(url));
const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
const outcomes: Record<string, number> = {};
const latenciesMs: number[] = [];
const pending: Promise<void>[] = [];

const startedAt = performance.now();
while (pending.length < bodies.length) {
  const due = Math.floor(((performance.now() - startedAt) / 1000) * ratePerSecond);
  while (pending.length < Math.min(due, bodies.length)) pending.push(send(pending.length));
  await sleep(TICK_MS);
}
const durationMs = performance.now() - startedAt;
await Promise.all(pending);
for (const target of targets) target.close();
const figures: FloodFigures = { sent: bodies.length, outcomes, durationMs, latenciesMs };
parentPort!.postMessage(figures);

async function send(index: number): Promise<void> {
  const sentAt = performance.now();
  const bytes = requestBytes(method, path, { headers, body: bodies[index]! });
  const outcome = await targets[index % targets.length]!.send(bytes);
  latenciesMs.push(performance.now() - sentAt);
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
}
