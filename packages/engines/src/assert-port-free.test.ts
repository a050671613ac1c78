import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { once } from 'node:events';

import { expect, it } from 'vitest';

import { assertPortFree } from './assert-port-free.ts';
import { takeFreePort } from './engine-trial.ts';

it('a taken port is told with its purpose and a way out, and a freed one passes', async () => {
  const port = await takeFreePort();
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  const check = () => assertPortFree({ host: '127.0.0.1', port, what: 'nats-server of node-1' });
  await expect(check()).rejects.toThrow(
    `port ${port} on 127.0.0.1 (nats-server of node-1) is taken by another program: ` +
      'stop it, or choose another port in the configuration (a demo: --base-port)',
  );
  server.close();
  await once(server, 'close');
  await expect(check()).resolves.toBeUndefined();
});

it('a port of UDP is another one than that of TCP', async () => {
  const port = await takeFreePort();
  const socket = createSocket('udp4').bind(port, '127.0.0.1');
  await once(socket, 'listening');
  const about = { host: '127.0.0.1', port, what: 'RADIUS of node-1' };
  await expect(assertPortFree({ ...about, transport: 'udp' })).rejects.toThrow('RADIUS of node-1');
  await expect(assertPortFree(about)).resolves.toBeUndefined();
  socket.close();
  await once(socket, 'close');
  await expect(assertPortFree({ ...about, transport: 'udp' })).resolves.toBeUndefined();
  await expect(assertPortFree({ ...about, host: '192.0.2.1', transport: 'udp' })).rejects.toThrow(
    'is not an address of this machine',
  );
});

it('an address of another machine is told', async () => {
  await expect(
    assertPortFree({ host: '192.0.2.1', port: 4222, what: 'nats-server of node-1' }),
  ).rejects.toThrow('192.0.2.1 (nats-server of node-1) is not an address of this machine');
});
