import { createServer, connect, type Server, type Socket } from 'node:net';

/**
 * A TCP relay whose link can be cut, held or slowed, all connections or those whose NATS client name matches.
 * It is the network between two nodes.
 */
export class Relay {
  readonly port: number;
  readonly #target: number;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #isCut = false;
  #delay: { ms: number; applies(name: string): boolean } = { ms: 0, applies: () => false };
  #trap: Trap | null = null;

  static async start(port: number, target: number): Promise<Relay> {
    const relay = new Relay(port, target);
    await new Promise<void>((resolve, reject) => {
      relay.#server.once('error', reject);
      relay.#server.listen(port, '127.0.0.1', resolve);
    });
    return relay;
  }

  private constructor(port: number, target: number) {
    this.port = port;
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** From now on nothing passes: open connections go silent, new ones are not answered. */
  cut(): void {
    this.#isCut = true;
    for (const pair of this.#pairs) pair.hold();
  }

  /** Silent connections break, new ones pass. */
  heal(): void {
    this.#isCut = false;
    for (const pair of this.#pairs) pair.destroy();
  }

  /** Both directions of connections whose client name `applies` take this much longer. */
  slow(ms: number, applies: (name: string) => boolean): void {
    this.#delay = { ms, applies };
  }

  /**
   * From the first chunk of a client for which `applies` is true, what that connection sends stays in the cable
   * until it is released. Answers still come through.
   */
  trap(applies: (name: string, chunk: Buffer) => boolean): Trap {
    this.#trap = new Trap(applies);
    return this.#trap;
  }

  /** Names of the clients connected now. */
  clientNames(): string[] {
    return [...this.#pairs].map((pair) => pair.name).filter((name) => name !== '');
  }

  async close(): Promise<void> {
    for (const pair of this.#pairs) pair.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    const upstream = connect(this.#target, '127.0.0.1');
    const pair = new Pair(client, upstream, {
      delayMs: (name) => (this.#delay.applies(name) ? this.#delay.ms : 0),
      isTrapped: (chunk) => this.#trap?.takes(pair, chunk) ?? false,
    });
    this.#pairs.add(pair);
    pair.onClose = () => this.#pairs.delete(pair);
    if (this.#isCut) pair.hold();
  }
}

/** What one connection sent and has not arrived yet. */
export class Trap {
  readonly #applies: (name: string, chunk: Buffer) => boolean;
  readonly #held: Buffer[] = [];
  readonly #caught = Promise.withResolvers<Buffer>();
  #pair: Pair | null = null;
  #isReleased = false;

  constructor(applies: (name: string, chunk: Buffer) => boolean) {
    this.#applies = applies;
  }

  /** Resolves with the first chunk held. */
  get caught(): Promise<Buffer> {
    return this.#caught.promise;
  }

  takes(pair: Pair, chunk: Buffer): boolean {
    if (this.#isReleased) return false;
    if (this.#pair ? this.#pair !== pair : !this.#applies(pair.name, chunk)) return false;
    this.#pair = pair;
    this.#held.push(chunk);
    this.#caught.resolve(chunk);
    return true;
  }

  /** What was held arrives now, in order. False when the connection is gone, and it with it. */
  release(): boolean {
    this.#isReleased = true;
    return this.#pair?.arrive(Buffer.concat(this.#held)) ?? false;
  }
}

/** One direction of a connection: what was sent and is due later, in order. */
type Direction = { to: Socket; waiting: Buffer[]; dueAt: number };

class Pair {
  name = '';
  onClose: () => void = () => undefined;
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #toServer: Direction;
  readonly #toClient: Direction;
  readonly #delayMs: (name: string) => number;
  #isHeld = false;

  constructor(
    client: Socket,
    upstream: Socket,
    link: { delayMs(name: string): number; isTrapped(chunk: Buffer): boolean },
  ) {
    this.#client = client;
    this.#upstream = upstream;
    this.#toServer = { to: upstream, waiting: [], dueAt: 0 };
    this.#toClient = { to: client, waiting: [], dueAt: 0 };
    this.#delayMs = link.delayMs;
    client.setNoDelay(true);
    upstream.setNoDelay(true);
    client.on('data', (chunk) => {
      this.#learnName(chunk);
      if (!link.isTrapped(chunk)) this.#pass(this.#toServer, chunk);
    });
    upstream.on('data', (chunk) => this.#pass(this.#toClient, chunk));
    for (const socket of [client, upstream]) {
      socket.on('error', () => this.destroy());
      socket.on('close', () => this.destroy());
    }
  }

  hold(): void {
    this.#isHeld = true;
  }

  arrive(bytes: Buffer): boolean {
    if (this.#isHeld || this.#upstream.destroyed) return false;
    this.#pass(this.#toServer, bytes);
    return true;
  }

  destroy(): void {
    // A broken cable tells nobody; what was held is lost.
    if (this.#isHeld && !this.#client.destroyed) this.#isHeld = false;
    this.#client.destroy();
    this.#upstream.destroy();
    this.onClose();
  }

  /** Nothing overtakes what was sent before it, also when the link has become faster meanwhile. */
  #pass(direction: Direction, chunk: Buffer): void {
    if (this.#isHeld) return;
    const { to, waiting } = direction;
    const delayMs = this.#delayMs(this.name);
    if (delayMs === 0 && waiting.length === 0) {
      to.write(chunk);
      return;
    }
    const now = performance.now();
    direction.dueAt = Math.max(now + delayMs, direction.dueAt);
    waiting.push(chunk);
    setTimeout(() => {
      const first = waiting.shift()!;
      if (!this.#isHeld && !to.destroyed) to.write(first);
    }, direction.dueAt - now);
  }

  #learnName(chunk: Buffer): void {
    if (this.name !== '') return;
    const found = /"name":"([^"]+)"/.exec(chunk.toString('latin1'));
    if (found?.[1]) this.name = found[1];
  }
}
