import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestCluster } from '@countersign/identity/testing';
import { startTestNats, type TestNats } from '@countersign/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { checkLogServers } from './check-log-servers.ts';

const [at1, at2, at9] = ['node-1', 'node-2', 'node-9'].map((name) => ({
  name,
  dataDirectory: '/nowhere',
})) as [About, About, About];
type About = Parameters<typeof checkLogServers>[0];

describe('the log servers, asked from a node', () => {
  let nats: TestNats;
  const opened: Server[] = [];
  beforeAll(async () => {
    nats = await startTestNats({ servers: 1 });
  }, 60_000);
  afterAll(() => nats?.stop());
  afterEach(() => {
    for (const server of opened.splice(0)) server.close();
  });

  const at = (name: string, clientPort: number) => ({
    name,
    host: '127.0.0.1',
    clientPort,
    routePort: 1,
  });
  const portOf = (url: string) => Number(new URL(url).port);

  async function answer(greet: (socket: Socket) => void): Promise<number> {
    const server = createServer((socket) => greet(socket.on('error', () => undefined)));
    opened.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  it('say their version, and are told by name where they are stopped', async () => {
    const servers = [at('node-1', portOf(nats.urls[0]!))];
    expect(await checkLogServers(at1, servers)).toMatchObject([
      {
        ok: true,
        detail: expect.stringMatching(/^the log server of node-1 .* nats-server 2\.\d+/),
      },
    ]);
    await nats.kill(0);
    const [own] = await checkLogServers(at1, servers);
    expect(own).toMatchObject({
      ok: false,
      severity: 'warning',
      detail: expect.stringMatching(/cannot be reached from here: .*ECONNREFUSED/),
      fix: expect.stringContaining('logs/nats-server.log'),
    });
    const [other] = await checkLogServers(at2, servers);
    expect(other?.fix).toBe(
      `on node-1: systemctl status countersign; from here: nc -vz 127.0.0.1 ${servers[0]!.clientPort}; docs/firewall.md`,
    );
  });

  it('of a secured cluster are asked with the identity of the node', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'countersign-doctor-'));
    const stranger = mkdtempSync(join(tmpdir(), 'countersign-doctor-'));
    const identity = join(folder, 'identity');
    await createTestCluster([{ name: 'node-1', folder: identity }]);
    await createTestCluster([{ name: 'node-1', folder: join(stranger, 'identity') }]);
    const files = {
      authorityFile: join(identity, 'ca.pem'),
      certificateFile: join(identity, 'node.pem'),
      keyFile: join(identity, 'node.key'),
    };
    const access = () => ({ ...files, users: [], routeKeys: [] });
    const secured = await startTestNats({ servers: 1, access });
    try {
      const servers = [at('node-1', portOf(secured.urls[0]!))];
      const asked = async (dataDirectory: string) =>
        (await checkLogServers({ name: 'node-1', dataDirectory }, servers))[0];
      expect(await asked(folder)).toMatchObject({ ok: true });
      expect(await asked('/nowhere')).toMatchObject({ ok: false });
      expect(await asked(stranger)).toMatchObject({
        ok: false,
        detail: expect.stringMatching(/cannot be reached from here: .*certificate/),
      });
    } finally {
      await secured.stop();
      for (const place of [folder, stranger]) rmSync(place, { recursive: true });
    }
  });

  it('are told where one is too old, is something else, or says nothing', async () => {
    const old = await answer((socket) => socket.end('INFO {"version":"2.10.22"} \r\n'));
    const strange = await answer((socket) => socket.end('220 mail.example ESMTP\r\n'));
    const mute = await answer(() => undefined);
    const servers = [at('node-1', old), at('node-2', strange), at('node-3', mute)];
    const found = await checkLogServers(at9, servers);
    expect(found.map(({ ok }) => ok)).toEqual([false, false, false]);
    const [tooOld, another, silent] = found;
    expect(tooOld).toMatchObject({
      severity: 'critical',
      detail: expect.stringContaining('is nats-server 2.10.22: 2.10.23 or newer is needed'),
    });
    expect(another?.detail).toContain('what listens there is no nats-server');
    expect(silent?.detail).toContain('silent for 2 s');
  });
});
