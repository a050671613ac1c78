import { createSocket } from 'node:dgram';
import { createServer, isIPv6 } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

import { EngineError } from './engine-error.ts';

/**
 * Throws EngineError naming the port and its purpose when `host:port` cannot be bound.
 * A port that is taken is tried again for `patienceMs`: the kernel may still be clearing away
 * what a killed predecessor left.
 */
export async function assertPortFree(options: {
  host: string;
  port: number;
  /** Whose port it is, for example `nats-server of node-1`. */
  what: string;
  patienceMs?: number;
  transport?: 'tcp' | 'udp';
}): Promise<void> {
  const { host, port, what, transport = 'tcp' } = options;
  const giveUpAt = performance.now() + (options.patienceMs ?? 0);
  for (;;) {
    const code = await tryToBind({ host, port, transport });
    if (code === undefined) return;
    if (code !== 'EADDRINUSE') throw new EngineError(explainBindError({ host, port, what, code }));
    if (performance.now() >= giveUpAt) {
      throw new EngineError(
        `port ${port} on ${host} (${what}) is taken by another program: ` +
          'stop it, or choose another port in the configuration (a demo: --base-port)',
      );
    }
    await wait(50);
  }
}

/** The code of the error that binding gave, or undefined when the port was free. It is free again when this resolves. */
export function tryToBind(options: {
  host: string;
  port: number;
  transport: 'tcp' | 'udp';
}): Promise<string | undefined> {
  const { host, port, transport } = options;
  return transport === 'udp' ? tryToBindUdp(host, port) : tryToBindTcp(host, port);
}

function tryToBindTcp(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

function tryToBindUdp(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    socket.once('error', (error: NodeJS.ErrnoException) => {
      socket.close();
      resolve(error.code ?? error.message);
    });
    const isBound = () => socket.close(() => resolve(undefined));
    socket.bind({ address: host, port, exclusive: true }, isBound);
  });
}

function explainBindError(about: { host: string; port: number; what: string; code: string }) {
  const { host, port, what, code } = about;
  if (code === 'EACCES') return `port ${port} on ${host} (${what}) may only be opened by root`;
  if (code === 'EADDRNOTAVAIL') return `${host} (${what}) is not an address of this machine`;
  return `port ${port} on ${host} (${what}) cannot be opened: ${code}`;
}
