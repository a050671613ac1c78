import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

export type FaultyServer = AsyncDisposable & {
  url: string;
  /** Connections it has now, and had altogether. */
  open: () => number;
  taken: () => number;
  /** Ends all of them; it goes on listening. */
  cut: () => void;
};

/** A server on loopback that does with a connection what the test says. */
export async function startFaultyServer(take: (socket: Socket) => void): Promise<FaultyServer> {
  const sockets = new Set<Socket>();
  let taken = 0;
  const server = createServer((socket) => {
    taken += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    take(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => sockets.forEach((socket) => socket.destroy());
  return {
    url: `ldap://127.0.0.1:${(server.address() as AddressInfo).port}`,
    open: () => sockets.size,
    taken: () => taken,
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Stands before a real server; `pass` says what becomes of what the client sends. */
export function startRelay(
  url: string,
  pass: (bytes: Buffer, onward: Socket, client: Socket) => void = (bytes, onward) =>
    void onward.write(bytes),
): Promise<FaultyServer> {
  const { hostname, port } = new URL(url);
  return startFaultyServer((socket) => {
    const onward = connect({ host: hostname, port: Number(port) });
    onward.on('error', () => socket.destroy());
    onward.on('close', () => socket.destroy());
    socket.on('close', () => onward.destroy());
    onward.on('data', (bytes) => socket.write(bytes));
    socket.on('data', (bytes) => pass(bytes, onward, socket));
  });
}
