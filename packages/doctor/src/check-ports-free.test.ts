import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { takeFreePorts } from '@countersign/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkPortsFree } from './check-ports-free.ts';

let ports: number[];
let node: Parameters<typeof checkPortsFree>[0];
const opened: { close(): unknown }[] = [];
beforeEach(async () => {
  ports = await takeFreePorts(5);
  const [http = 0, clientPort = 0, routePort = 0, authenticationPort = 0, accountingPort = 0] =
    ports;
  const own = { name: 'node-1', host: '127.0.0.1', clientPort, routePort };
  node = {
    name: 'node-1',
    http: { host: '127.0.0.1', port: http, tls: null, isHttps: false },
    logServers: [own, { ...own, name: 'node-2' }, { ...own, name: 'node-3' }],
    radius: { host: ['127.0.0.1'], authenticationPort, accountingPort },
  };
});
afterEach(() => {
  for (const one of opened.splice(0)) one.close();
});

describe('the ports of a node that does not run', () => {
  it('are well where all are free', async () => {
    const detail = 'all 5 are free for the node';
    expect(await checkPortsFree(node)).toEqual([{ name: 'ports', ok: true, detail }]);
  });

  it('are told where another program has one, with how to find it', async () => {
    const [http, , routePort, , accountingPort] = ports;
    for (const port of [http, routePort]) {
      const server = createServer();
      opened.push(server);
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    }
    const socket = createSocket('udp4');
    opened.push(socket);
    socket.bind(accountingPort, '127.0.0.1');
    await once(socket, 'listening');
    expect(await checkPortsFree(node)).toEqual([
      {
        name: 'ports',
        ok: false,
        severity: 'critical',
        detail: `127.0.0.1:${http} (TCP, http.port) is taken by another program`,
        fix: `ss -lntp 'sport = :${http}'; stop that program, or set another http.port`,
      },
      expect.objectContaining({
        detail: `127.0.0.1:${routePort} (TCP, logServers routePort) is taken by another program`,
      }),
      expect.objectContaining({
        detail: `127.0.0.1:${accountingPort} (UDP, radius.accountingPort) is taken by another program`,
        fix: `ss -lnup 'sport = :${accountingPort}'; stop that program, or set another radius.accountingPort`,
      }),
    ]);
  });

  it('are told where their address is not of this machine', async () => {
    const http = { ...node.http, host: '192.0.2.11' };
    expect(await checkPortsFree({ ...node, http })).toMatchObject([
      {
        detail: `192.0.2.11:${ports[0]} (TCP, http.port): 192.0.2.11 is no address of this machine`,
        fix: 'ip -brief address; then set the host of http.port',
      },
    ]);
  });
});
