import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** What a server, or the way to it, does wrong. */
export type TcpFault =
  | { kind: 'none' }
  /** Takes connections and all that is sent, and never answers. */
  | { kind: 'silent' }
  /** Answers the first bytes with these, whatever they were. */
  | { kind: 'garbage'; bytes: Buffer }
  /** Each answer of the real server comes this much later, and in order. */
  | { kind: 'delay'; ms: number }
  /** The connection ends when this many bytes of answers have passed. */
  | { kind: 'cut'; afterBytes: number };

/**
 * A TCP server on a loopback port of its own that is faulty in one way, for TLS as well as plain
 * text: it stands before `target`, or before nothing where the fault needs no real server.
 */
export class FaultyTcp implements AsyncDisposable {
  readonly #server: Server;
  readonly #target: { host: string; port: number } | null;
  readonly #sockets = new Set<Socket>();
  #fault: TcpFault;
  #accepted = 0;

  static async start(about: {
    fault: TcpFault;
    target?: { host: string; port: number };
  }): Promise<FaultyTcp> {
    const faulty = new FaultyTcp(about.fault, about.target ?? null);
    faulty.#server.listen(0, '127.0.0.1');
    await once(faulty.#server, 'listening');
    return faulty;
  }

  private constructor(fault: TcpFault, target: { host: string; port: number } | null) {
    this.#target = target;
    this.#assertPossible(fault);
    this.#fault = fault;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** At 127.0.0.1. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections so far. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Connections made from now on have this fault; open ones keep theirs. */
  change(fault: TcpFault): void {
    this.#assertPossible(fault);
    this.#fault = fault;
  }

  /** Resets all connections that are open. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    this.#accepted += 1;
    this.#keep(client);
    const fault = this.#fault;
    if (fault.kind === 'silent') return void client.resume();
    if (fault.kind === 'garbage') return void client.once('data', () => client.end(fault.bytes));
    const upstream = this.#keep(connect(this.#target!));
    client.pipe(upstream);
    client.once('close', () => upstream.destroy());
    if (fault.kind === 'delay') passLater(upstream, client, fault.ms);
    else if (fault.kind === 'cut') passUntil(upstream, client, fault.afterBytes);
    else upstream.pipe(client);
    upstream.once('error', () => client.resetAndDestroy());
  }

  #assertPossible({ kind }: TcpFault): void {
    if (this.#target || kind === 'silent' || kind === 'garbage') return;
    throw new Error(`the fault ${kind} needs a target`);
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    // A broken connection is what it is for.
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  }
}

// Timers of one duration fire in the order in which they were set.
function passLater(from: Socket, to: Socket, ms: number): void {
  from.on('data', (chunk) => setTimeout(() => to.destroyed || to.write(chunk), ms));
  from.once('end', () => setTimeout(() => to.end(), ms));
}

function passUntil(from: Socket, to: Socket, afterBytes: number): void {
  let leftBytes = afterBytes;
  from.on('data', (chunk) => {
    const part = chunk.subarray(0, leftBytes);
    leftBytes -= part.length;
    if (leftBytes > 0) return void to.write(part);
    from.destroy();
    // What had passed arrives; a reset could overtake it.
    to.write(part, () => to.destroySoon());
  });
  from.once('end', () => to.end());
}
