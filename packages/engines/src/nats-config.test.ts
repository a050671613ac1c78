import { expect, it } from 'vitest';

import { formatAddress, renderNatsConfig, type NatsSettings } from './nats-config.ts';

const single: NatsSettings = {
  serverName: 'node-1',
  clusterName: 'countersign-1',
  host: '127.0.0.1',
  clientPort: 4222,
  storeDirectory: '/var/lib/a "b"/store',
  maxStoreBytes: 1_000,
  access: { user: 'node', password: 'p@ss/w:"d' },
};

it('a single server has no cluster, and odd characters stay inside their quotes', () => {
  const text = renderNatsConfig(single);
  expect(text).not.toContain('cluster');
  expect(text).toContain('store_dir: "/var/lib/a \\"b\\"/store"');
  expect(text).toContain('password: "p@ss/w:\\"d"');
});

it('routes carry the credentials, encoded for a URL', () => {
  const routes = ['10.0.0.2:6222', '10.0.0.3:6222'];
  const cluster = { host: '10.0.0.1', port: 6222, routes, noAdvertise: true as const };
  const text = renderNatsConfig({ ...single, cluster });
  expect(text).toContain('"nats-route://node:p%40ss%2Fw%3A%22d@10.0.0.2:6222"');
  expect(text).toContain('"nats-route://node:p%40ss%2Fw%3A%22d@10.0.0.3:6222"');
  expect(text).toContain('no_advertise: true');
});

it('an IPv6 address is written in brackets', () => {
  expect(formatAddress('::1', 4222)).toBe('[::1]:4222');
});
