import { createSocket } from 'node:dgram';
import { once } from 'node:events';

import { waitFor } from '@countersign/testing';

/** A socket of a test that sends what it is told, whole or broken, and keeps what comes back. */
export interface UdpPeer extends AsyncDisposable {
  readonly port: number;
  readonly received: Buffer[];
  send(bytes: Buffer): void;
  /** Waits until that many datagrams have come, then gives them all. */
  untilReceived(count: number): Promise<Buffer[]>;
}

/** `address`: of the server; `from`: the peer's own. */
export async function openUdpPeer(to: {
  address?: string;
  port: number;
  from?: string;
}): Promise<UdpPeer> {
  const address = to.address ?? '127.0.0.1';
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.bind(0, to.from);
  await once(socket, 'listening');
  const received: Buffer[] = [];
  socket.on('message', (bytes) => received.push(bytes));
  return {
    port: socket.address().port,
    received,
    send: (bytes) => socket.send(bytes, to.port, address),
    untilReceived: async (count) => {
      await waitFor(`${count} datagrams`, () => received.length >= count, { timeoutMs: 5_000 });
      return received;
    },
    [Symbol.asyncDispose]: async () => {
      socket.close();
      await once(socket, 'close');
    },
  };
}
