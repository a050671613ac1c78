import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { startApi } from '@countersign/api/testing';
import { takeFreePorts } from '@countersign/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkListeners } from './check-listeners.ts';

let api: Awaited<ReturnType<typeof startApi>>;
let node: Parameters<typeof checkListeners>[0];
let http: typeof node.http;
const opened: { close(): unknown }[] = [];
beforeEach(async () => {
  api = await startApi();
  http = { host: '127.0.0.1', port: api.port, tls: null, isHttps: false };
  node = { name: api.ports.node, dataDirectory: '/data', http, radius: null };
});
afterEach(async () => {
  for (const one of opened.splice(0)) one.close();
  await api.close();
});

async function listenTcp(onConnection: Parameters<typeof createServer>[1]): Promise<number> {
  const server: Server = createServer(onConnection);
  opened.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function listenUdp(port: number): Promise<void> {
  const socket: Socket = createSocket('udp4');
  opened.push(socket);
  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
}

const logs = 'tail -n 50 /data/logs/worker-0.log';

describe('the listeners of a node that runs', () => {
  it('are well where its own worker answers and can verify', async () => {
    expect(await checkListeners(node)).toEqual([
      {
        name: 'http',
        ok: true,
        detail: `127.0.0.1:${api.port} answers, and its worker can verify`,
      },
    ]);
  });

  it('are told where the worker cannot verify, with its own reasons', async () => {
    api.ports.readiness = { ready: false, degraded: false, problems: ['PostgreSQL is silent'] };
    expect(await checkListeners(node)).toEqual([
      {
        name: 'http',
        ok: false,
        severity: 'critical',
        detail: `the worker at 127.0.0.1:${api.port} cannot verify: PostgreSQL is silent`,
        fix: logs,
      },
    ]);
  });

  it('are told where another node, or nobody, answers there', async () => {
    expect(await checkListeners({ ...node, name: 'other' })).toMatchObject([
      {
        detail: `127.0.0.1:${api.port} answers, but as ${api.ports.node}`,
        fix: `ss -lntp 'sport = :${api.port}'`,
      },
    ]);
    const [port = 0] = await takeFreePorts(1);
    expect(
      await checkListeners({ ...node, http: { ...http, host: '0.0.0.0', port } }),
    ).toMatchObject([
      {
        severity: 'critical',
        detail: expect.stringMatching(`^0.0.0.0:${port} does not answer from here: .*ECONNREFUSED`),
        fix: `ss -lntp 'sport = :${port}'; ${logs}`,
      },
    ]);
  });

  it('are told where something else answers, or takes the connection and says nothing', async () => {
    const talks = await listenTcp((socket) => socket.end('SSH-2.0-OpenSSH_9.7\r\n'));
    const [other] = await checkListeners({ ...node, http: { ...http, port: talks } });
    expect(other?.detail).toContain('what listens there is no Countersign');
    const asHttps = { ...http, isHttps: true };
    const [plain] = await checkListeners({ ...node, http: asHttps });
    expect(plain?.detail).toContain('what listens there speaks no TLS');
    const mute = await listenTcp((socket) => socket.on('error', () => undefined));
    const [silent] = await checkListeners({ ...node, http: { ...http, port: mute } });
    expect(silent?.detail).toBe(`127.0.0.1:${mute} does not answer from here: silent for 2 s`);
  });

  it('are told where nobody listens for RADIUS, or the address is gone from this machine', async () => {
    const [authenticationPort = 0, accountingPort = 0] = await takeFreePorts(2);
    const radius = { host: ['127.0.0.1'], authenticationPort, accountingPort };
    await listenUdp(authenticationPort);
    const [, one] = await checkListeners({ ...node, radius });
    expect(one).toEqual({
      name: 'radius',
      ok: false,
      severity: 'critical',
      detail: `127.0.0.1:${accountingPort} (UDP): nothing listens there`,
      fix: logs,
    });
    await listenUdp(accountingPort);
    const [, both] = await checkListeners({ ...node, radius });
    expect(both).toMatchObject({ name: 'radius', ok: true });
    const elsewhere = { ...radius, host: ['192.0.2.11'] };
    const [, gone] = await checkListeners({ ...node, radius: elsewhere });
    expect(gone).toMatchObject({
      detail: `192.0.2.11:${authenticationPort} (UDP): is no address of this machine`,
      fix: 'ip -brief address; then set radius.host',
    });
  });
});
