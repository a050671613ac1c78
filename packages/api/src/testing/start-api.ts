import type { AddressInfo } from 'node:net';
import { buildApi } from '../build-api.ts';
import type { ApiOptions } from '../build-api.ts';
import { silentLogger } from './silent-logger.ts';
import { MemoryPorts } from './memory-ports.ts';

/** A listening API over memory on a free loopback port; every key scope is held by the key `all`. */
export async function startApi(options: Partial<ApiOptions> = {}) {
  const ports = new MemoryPorts();
  ports.addKey('all');
  const api = buildApi(ports, { logger: silentLogger(), ...options });
  await api.listen({ host: '127.0.0.1', port: 0 });
  const { port } = api.server.address() as AddressInfo;
  const scheme = options.tls ? 'https' : 'http';
  return { api, ports, port, url: `${scheme}://127.0.0.1:${port}`, close: () => api.close() };
}
