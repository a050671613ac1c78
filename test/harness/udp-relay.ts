import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

const SENDERS_MAX = 256;

/**
 * The network between UDP clients and one port of a node: answers can get lost in it. Behind it each sender has a port
 * of its own, and all have the address `as`.
 */
export class UdpRelay implements AsyncDisposable {
  /** What came from clients, in order. */
  readonly requests: Buffer[] = [];
  readonly #front: Socket;
  readonly #target: number;
  readonly #as: string;
  readonly #behind = new Map<string, Promise<Socket>>();
  #lost: PromiseWithResolvers<Buffer> | null = null;

  /** `target`: a port of 127.0.0.1. */
  static async start(target: number, { as = '127.0.0.1' } = {}): Promise<UdpRelay> {
    const front = createSocket('udp4');
    front.bind(0, '127.0.0.1');
    await once(front, 'listening');
    return new UdpRelay(front, target, as);
  }

  private constructor(front: Socket, target: number, as: string) {
    this.#front = front;
    this.#target = target;
    this.#as = as;
    front.on('message', (bytes, { port, address }) => {
      this.requests.push(bytes);
      void this.#socketOf(port, address).then((socket) => socket.send(bytes));
    });
  }

  get port(): number {
    return this.#front.address().port;
  }

  /** From now on no answer comes through, until it is healed; resolves with the first that is lost. */
  loseAnswers(): Promise<Buffer> {
    this.#lost = Promise.withResolvers();
    return this.#lost.promise;
  }

  heal(): void {
    this.#lost = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const sockets = [this.#front, ...(await Promise.all(this.#behind.values()))];
    await Promise.all(
      sockets.map(async (socket) => {
        socket.close();
        await once(socket, 'close');
      }),
    );
  }

  #socketOf(port: number, address: string): Promise<Socket> {
    const key = `${address} ${port}`;
    const known = this.#behind.get(key);
    if (known) return known;
    if (this.#behind.size === SENDERS_MAX) throw new Error('too many senders for a relay');
    const made = this.#openBehind(port, address);
    this.#behind.set(key, made);
    return made;
  }

  async #openBehind(port: number, address: string): Promise<Socket> {
    const socket = createSocket('udp4');
    // Nobody listens there once the node is dead: for the client that is silence.
    socket.on('error', () => undefined);
    socket.on('message', (bytes) => {
      if (this.#lost) this.#lost.resolve(bytes);
      else this.#front.send(bytes, port, address);
    });
    socket.bind(0, this.#as);
    await once(socket, 'listening');
    socket.connect(this.#target, '127.0.0.1');
    await once(socket, 'connect');
    return socket;
  }
}
