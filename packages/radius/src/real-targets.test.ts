import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  hasFreeradius,
  startTestFreeradius,
  type TestFreeradius,
  waitFor,
} from '@countersign/testing';

import { findText, findValue, findValues, makeAttribute } from './attribute-values.ts';
import { reencryptAttributes, revealSalted } from './hidden-attributes.ts';
import { type ClientResult, RadiusClient } from './radius-client.ts';
import { RadiusServer } from './radius-server.ts';
import { runTool } from './testing/run-tool.ts';

const users = [
  {
    name: 'alice',
    password: 'pässwörd',
    reply: [
      'Class := "vpn"',
      'MS-MPPE-Send-Key := 0x00112233445566778899aabbccddeeff',
      'Tunnel-Password:1 := "tunnel secret"',
    ],
  },
  { name: 'carol', password: 'secret', challenge: { text: 'Code, please', code: '123456' } },
];
/** One server is waited for 4 s and more. */
const bounds = { firstWaitMs: 1500, longestWaitMs: 3000, triesPerServer: 2, probeEveryMs: 50 };

describe.skipIf(!hasFreeradius)('FreeRADIUS as a target (needs freeradius)', () => {
  let first: TestFreeradius;
  let second: TestFreeradius;
  const running: TestFreeradius[] = [];
  const start = async (options: Parameters<typeof startTestFreeradius>[0]) => {
    const server = await startTestFreeradius(options);
    running.push(server);
    return server;
  };

  beforeAll(async () => {
    first = await start({ role: 'target', users });
    second = await start({ role: 'target', users });
  });
  afterAll(async () => {
    await Promise.all(running.map((server) => server.stop()));
  });

  const connect = (servers: readonly TestFreeradius[], onServerState?: () => void) =>
    new RadiusClient({
      servers: servers.map(({ port, secret }, index) => ({
        name: `target-${index + 1}`,
        host: '127.0.0.1',
        port,
        secret: Buffer.from(secret),
        messageAuthenticator: 'require',
      })),
      bounds,
      ...(onServerState && { onServerState }),
    });

  it('accepts and rejects PAP, and its hidden attributes can be hidden for our client', async () => {
    await using client = connect([first]);
    const accepted = expectAnswered(await signIn(client, 'alice', 'pässwörd'));
    expect(accepted.code).toBe(2);
    expect(findText(accepted.attributes, 'Class')).toBe('vpn');
    const to = { secret: Buffer.from('of the vpn'), authenticator: Buffer.alloc(16, 5) };
    const again = reencryptAttributes(accepted.attributes, { from: accepted.exchange, to }) ?? [];
    const key = revealSalted(findValue(again, 'MS-MPPE-Send-Key') ?? Buffer.alloc(0), to);
    expect(key?.toString('hex')).toBe('00112233445566778899aabbccddeeff');
    const tunnel = findValue(again, 'Tunnel-Password') ?? Buffer.alloc(0);
    expect(revealSalted(tunnel.subarray(1), to)?.toString()).toBe('tunnel secret');
    expect(expectAnswered(await signIn(client, 'alice', 'wrong')).code).toBe(3);
  });

  it('asks, and takes the answer with its State', async () => {
    await using client = connect([first]);
    const asked = expectAnswered(await signIn(client, 'carol', 'secret'));
    expect(asked.code).toBe(11);
    expect(findText(asked.attributes, 'Reply-Message')).toBe('Code, please');
    const state = findValues(asked.attributes, 'State').map((value) =>
      makeAttribute('State', value),
    );
    expect(state).toHaveLength(1);
    expect(expectAnswered(await signIn(client, 'carol', '000000', state)).code).toBe(3);
    expect(expectAnswered(await signIn(client, 'carol', '123456', state)).code).toBe(2);
  });

  it('verifies CHAP that we pass on', async () => {
    await using client = connect([first]);
    const attributes = [
      makeAttribute('User-Name', 'alice'),
      // MD5(identifier 1 + password + challenge), made with openssl.
      makeAttribute('CHAP-Password', Buffer.from(chapResponse, 'hex')),
      makeAttribute('CHAP-Challenge', Buffer.alloc(16, 0x11)),
    ];
    expect(expectAnswered(await client.send({ code: 1, attributes })).code).toBe(2);
  });

  it('whose replies have no Message-Authenticator is not believed', async () => {
    const unsigned = await start({ role: 'target', users, unsigned: true });
    const reasons: string[] = [];
    await using client = new RadiusClient({
      servers: [
        {
          name: 'unsigned',
          host: '127.0.0.1',
          port: unsigned.port,
          secret: Buffer.from(unsigned.secret),
          messageAuthenticator: 'require',
        },
      ],
      bounds,
      onRefused: ({ reason }) => reasons.push(reason),
    });
    expect(await signIn(client, 'alice', 'pässwörd')).toMatchObject({ kind: 'unanswered' });
    expect(reasons).toEqual(['message_authenticator_missing']);
  });

  it('killed, the next one answers every sign-in; started again, it is found by Status-Server', async () => {
    const victim = await start({ role: 'target', users });
    await using client = connect([victim, second]);
    expect(expectAnswered(await signIn(client, 'alice', 'pässwörd')).server).toBe('target-1');
    await victim.kill();
    for (let count = 0; count < 4; count += 1) {
      expect(expectAnswered(await signIn(client, 'alice', 'pässwörd')).server).toBe('target-2');
    }
    expect(client.servers().map(({ isDead }) => isDead)).toEqual([true, false]);
    const { port, accountingPort } = victim;
    await start({ role: 'target', users, ports: { port, accountingPort } });
    await waitFor('the revival', () => !client.servers()[0]?.isDead, { timeoutMs: 10_000 });
    expect(expectAnswered(await signIn(client, 'alice', 'pässwörd')).server).toBe('target-1');
  });

  it('suspended, it costs two sign-ins their wait and the later ones nothing', async () => {
    const victim = await start({ role: 'target', users });
    await using client = connect([victim, second]);
    process.kill(victim.pid, 'SIGSTOP');
    try {
      for (let count = 0; count < 2; count += 1) {
        expect(expectAnswered(await signIn(client, 'alice', 'pässwörd')).server).toBe('target-2');
      }
      const startedAt = performance.now();
      expect(expectAnswered(await signIn(client, 'alice', 'pässwörd')).server).toBe('target-2');
      expect(performance.now() - startedAt).toBeLessThan(3500);
    } finally {
      process.kill(victim.pid, 'SIGCONT');
    }
    await waitFor('the revival', () => !client.servers()[0]?.isDead, { timeoutMs: 10_000 });
  });

  it('verifies MS-CHAP of radclient through our server, and the MPPE keys arrive opened the same', async () => {
    await using client = connect([first]);
    const secret = Buffer.from('of the vpn');
    await using server = await RadiusServer.start({
      listen: [{ address: '127.0.0.1', port: 0, service: 'authentication' }],
      findClient: () => ({ name: 'vpn', secret, messageAuthenticator: 'require' }),
      handle: async ({ attributes, authenticator }) => {
        const passed = attributes.filter(({ type }) => type !== 33);
        const { code, exchange, ...reply } = expectAnswered(
          await client.send({ code: 1, attributes: passed }),
        );
        const to = { secret, authenticator };
        const again = reencryptAttributes(reply.attributes, { from: exchange, to });
        return again ? { code, attributes: again } : 'drop';
      },
    });
    const [port = 0] = server.ports;
    const ask = (port: number, secret: string) =>
      runTool({
        command: 'radclient',
        args: ['-x', '-r', '1', '-t', '8', `127.0.0.1:${port}`, 'auth', secret],
        input: 'User-Name="alice",MS-CHAP-Password="pässwörd",Message-Authenticator=0x00',
      });
    const keysOf = (output: string) => /MS-CHAP-MPPE-Keys = 0x[0-9a-f]+/.exec(output)?.[0];
    const direct = await ask(first.port, first.secret);
    const through = await ask(port, secret.toString());
    expect(through).toContain('Received Access-Accept');
    expect(keysOf(direct)).toBeDefined();
    expect(keysOf(through)).toBe(keysOf(direct));
    expect(through).toContain('MS-MPPE-Send-Key = 0x00112233445566778899aabbccddeeff');
  });

  it('answers accounting', async () => {
    await using client = connect([{ ...first, port: first.accountingPort }]);
    const attributes = [
      makeAttribute('User-Name', 'alice'),
      makeAttribute('Acct-Status-Type', 1),
      makeAttribute('Acct-Session-Id', '7'),
    ];
    expect(expectAnswered(await client.send({ code: 4, attributes })).code).toBe(5);
  });
});

const chapResponse = '01918205e6f77e2773fc440eeb4b709900';

function signIn(
  client: RadiusClient,
  name: string,
  password: string,
  more: readonly ReturnType<typeof makeAttribute>[] = [],
): Promise<ClientResult> {
  const attributes = [makeAttribute('User-Name', name), ...more];
  return client.send({ code: 1, attributes, password: Buffer.from(password) });
}

function expectAnswered(result: ClientResult) {
  if (result.kind !== 'answered') throw new Error(`${result.kind}: ${JSON.stringify(result)}`);
  return result;
}
