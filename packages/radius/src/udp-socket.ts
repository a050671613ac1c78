import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';

/** What the kernel is asked to hold of what has not been read yet; it may grant less. */
const receiveBufferBytes = 4 * 1024 * 1024;

/** A bound UDP socket. Throws the system's error when it cannot be bound. */
export async function bindUdpSocket(options: {
  address: string;
  port: number;
  reusePort: boolean;
}): Promise<Socket> {
  const type = isIPv6(options.address) ? 'udp6' : 'udp4';
  const socket = createSocket({ type, reusePort: options.reusePort });
  try {
    socket.bind({ address: options.address, port: options.port, exclusive: true });
    await once(socket, 'listening');
    socket.setRecvBufferSize(receiveBufferBytes);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** A UDP socket that sends to, and takes from, one address and port only: the kernel sees to it. */
export async function connectUdpSocket(to: { host: string; port: number }): Promise<Socket> {
  const { address, family } = await lookup(to.host);
  const socket = createSocket({ type: family === 6 ? 'udp6' : 'udp4' });
  try {
    socket.connect(to.port, address);
    await once(socket, 'connect');
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

export async function closeUdpSocket(socket: Socket): Promise<void> {
  await new Promise<void>((resolve) => {
    socket.close(() => resolve());
  });
}
