import { randomInt } from 'node:crypto';
import type { Socket } from 'node:dgram';

import { closeUdpSocket, connectUdpSocket } from './udp-socket.ts';

/** An identifier of a socket, ours until released. */
export interface Slot {
  readonly identifier: number;
  /** Rejects with the system's error, such as ECONNREFUSED where nobody listens. */
  send(bytes: Buffer): Promise<void>;
  release(): void;
}

interface Waiter {
  onDatagram: (datagram: Buffer) => void;
  onError: (error: Error) => void;
}

interface Lane {
  readonly opened: Promise<Socket>;
  readonly waiters: Map<number, Waiter>;
  /** Of its socket, once that is open. */
  port: number | null;
  next: number;
  isRetired: boolean;
}

const identifiers = 256;

/** Sockets to one server, each with its 256 identifiers; used in turn, so that none is soon again. */
export class IdentifierPool {
  readonly #to: { host: string; port: number };
  readonly #maxSockets: number;
  #lanes: Lane[] = [];

  constructor(to: { host: string; port: number }, { maxSockets }: { maxSockets: number }) {
    this.#to = to;
    this.#maxSockets = maxSockets;
  }

  /**
   * A free identifier, or null when all are taken. `waiter` gets every datagram with it and the
   * socket's errors until it is released. Rejects when no socket can be opened.
   */
  async take(waiter: Waiter): Promise<Slot | null> {
    const lane = this.#findLane();
    if (!lane) return null;
    const identifier = takeIdentifier(lane);
    lane.waiters.set(identifier, waiter);
    const release = () => {
      if (lane.waiters.get(identifier) !== waiter) return;
      lane.waiters.delete(identifier);
      if (lane.isRetired && lane.waiters.size === 0) void closeLane(lane);
    };
    try {
      const socket = await lane.opened;
      const send = (bytes: Buffer) =>
        new Promise<void>((resolve, reject) => {
          socket.send(bytes, (error) => (error ? reject(error) : resolve()));
        });
      return { identifier, send, release };
    } catch (error) {
      release();
      this.#lanes = this.#lanes.filter((other) => other !== lane);
      throw error;
    }
  }

  /** New requests get new sockets (and the name is looked up again); the old close when unused. */
  retire(): void {
    for (const lane of this.#lanes) {
      lane.isRetired = true;
      if (lane.waiters.size === 0) void closeLane(lane);
    }
    this.#lanes = [];
  }

  /** Ports of this machine that the open sockets send from; nobody else has them. */
  get localPorts(): number[] {
    return this.#lanes.flatMap(({ port }) => port ?? []);
  }

  #findLane(): Lane | null {
    const free = this.#lanes.find(({ waiters }) => waiters.size < identifiers);
    if (free) return free;
    if (this.#lanes.length >= this.#maxSockets) return null;
    const lane = openLane(this.#to);
    this.#lanes.push(lane);
    return lane;
  }
}

function takeIdentifier(lane: Lane): number {
  while (lane.waiters.has(lane.next)) lane.next = (lane.next + 1) % identifiers;
  const identifier = lane.next;
  lane.next = (identifier + 1) % identifiers;
  return identifier;
}

function openLane(to: { host: string; port: number }): Lane {
  const waiters = new Map<number, Waiter>();
  const opened = connectUdpSocket(to).then((socket) => {
    lane.port = socket.address().port;
    socket.on('message', (datagram) => {
      const waiter = datagram.length < 2 ? undefined : waiters.get(datagram.readUInt8(1));
      waiter?.onDatagram(datagram);
    });
    socket.on('error', (error) => {
      for (const { onError } of waiters.values()) onError(error);
    });
    return socket;
  });
  const lane: Lane = {
    opened,
    waiters,
    port: null,
    next: randomInt(identifiers),
    isRetired: false,
  };
  return lane;
}

async function closeLane(lane: Lane): Promise<void> {
  await lane.opened.then(closeUdpSocket, () => undefined);
}
