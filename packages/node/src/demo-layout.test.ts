import { describe, expect, it } from 'vitest';

import { parseNodeConfig } from './config.ts';
import { isLoopback } from './url-host.ts';
import { layOutDemo } from './demo-layout.ts';

const lay = (nodes: number, basePort = 8080) =>
  layOutDemo({ directory: '/srv/demo', nodes, basePort, workers: 1 });

describe('the layout of a demo', () => {
  it('gives every node its folder and its ports', () => {
    const [first, , third] = lay(3);
    expect(first).toMatchObject({ name: 'node-1', folder: '/srv/demo/node-1' });
    expect(third).toMatchObject({ url: 'http://127.0.0.1:8082', config: { workers: 1 } });
    expect(third).toMatchObject({
      radius: { host: '127.0.0.1', port: 8203 },
      config: { radius: { authenticationPort: 8203, accountingPort: 8213 } },
    });
    expect(third?.config.logServers).toEqual([
      { name: 'node-1', host: '127.0.0.1', clientPort: 8181, routePort: 8281 },
      { name: 'node-2', host: '127.0.0.1', clientPort: 8182, routePort: 8282 },
      { name: 'node-3', host: '127.0.0.1', clientPort: 8183, routePort: 8283 },
    ]);
  });

  it.each([
    [1, 1],
    [2, 1],
    [3, 3],
    [4, 3],
    [5, 3],
  ])('has for %i nodes %i log servers', (nodes, servers) => {
    expect(lay(nodes).map(({ config }) => config.logServers?.length)).toEqual(
      Array.from({ length: nodes }, () => servers),
    );
  });

  it('is a valid configuration on loopback only, no port twice', () => {
    const nodes = lay(5, 1_024);
    const configs = nodes.map((node) => parseNodeConfig(JSON.stringify(node.config), 'node.yaml'));
    const ports = [
      ...configs.map(({ http }) => http.port),
      ...(configs[0]?.logServers ?? []).flatMap(({ clientPort, routePort }) => [
        clientPort,
        routePort,
      ]),
    ];
    expect(new Set(ports).size).toBe(11);
    const udp = configs.flatMap(({ radius }) => [
      radius!.authenticationPort,
      radius!.accountingPort,
    ]);
    expect(new Set(udp).size).toBe(10);
    expect(configs.every(({ radius }) => radius!.host.every(isLoopback))).toBe(true);
    expect(configs.every(({ http }) => isLoopback(http.host))).toBe(true);
  });

  it.each([
    [0, 8080, 'the number of nodes'],
    [6, 8080, 'the number of nodes'],
    [2.5, 8080, 'the number of nodes'],
    [3, 80, 'the base port'],
    [3, 65_400, 'the base port'],
  ])('refuses %d nodes from port %d', (nodes, basePort, what) => {
    expect(() => lay(nodes, basePort)).toThrow(what);
  });
});
