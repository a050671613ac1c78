import { connect } from 'node:net';

/**
 * Sends these bytes and hangs up: as soon as they are on their way, or when the answer begins to arrive. Either way
 * nobody reads it.
 */
export function sendAndHangUp(
  url: string,
  bytes: string,
  when: 'sent' | 'answered',
): Promise<void> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.setNoDelay(true);
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.write(bytes, () => {
      if (when === 'sent') socket.destroy();
    });
    socket.once('data', () => socket.destroy());
  });
}

/** A whole HTTP/1.1 request. */
export function requestBytes(
  method: string,
  path: string,
  options: { headers: Record<string, string>; body: string },
): string {
  const headers = { ...options.headers, 'content-length': String(Buffer.byteLength(options.body)) };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\nhost: node\r\n${lines.join('')}\r\n${options.body}`;
}
