import type { Socket } from 'node:net';
import type { Server } from 'node:tls';

/** A handshake takes three packets; who needs longer than this gets none. */
export const HANDSHAKE_TIMEOUT_MS = 5_000;

/**
 * At most so many handshakes at once: for another one the oldest ends, which in a flood is somebody who does not go
 * on, while a client in earnest is through within a moment.
 */
export function boundHandshakes(server: Server, max: number): void {
  const open = new Map<string, Socket>();
  server.on('connection', (socket: Socket) => {
    const ends = endsOf(socket);
    open.set(ends, socket);
    socket.once('close', () => {
      if (open.get(ends) === socket) open.delete(ends);
    });
    if (open.size <= max) return;
    // A map keeps the order of arrival.
    const [oldest] = open.values();
    oldest?.destroy();
  });
  server.on('secureConnection', (socket) => open.delete(endsOf(socket)));
}

/** The encrypted socket is another object than the one that arrived. */
function endsOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
