import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  hasFreeradius,
  startTestFreeradius,
  type TestFreeradius,
  waitFor,
} from '@countersign/testing';

import { findText, findValue, findValues, makeAttribute } from './attribute-values.ts';
import { hideSalted, hideUserPassword, makeSalts } from './hidden-attributes.ts';
import {
  RadiusServer,
  type Reply,
  type ServerClient,
  type ServerRefusal,
  type ServerRequest,
} from './radius-server.ts';
import { findSignInProtocol, readMschapV2 } from './sign-in-protocol.ts';
import { runTool } from './testing/run-tool.ts';

const secret = 'shared with radclient';

describe.skipIf(!hasFreeradius)('real clients (need freeradius, freeradius-utils)', () => {
  const requests: ServerRequest[] = [];
  const refusals: ServerRefusal[] = [];
  let policy: ServerClient['messageAuthenticator'] = 'require';
  let server: RadiusServer;
  let ports = { port: 0, accountingPort: 0 };
  let proxy: TestFreeradius;

  beforeAll(async () => {
    server = await RadiusServer.start({
      listen: [
        { address: '127.0.0.1', port: 0, service: 'authentication' },
        { address: '127.0.0.1', port: 0, service: 'accounting' },
      ],
      findClient: () => ({
        name: 'radclient',
        secret: Buffer.from(secret),
        messageAuthenticator: policy,
      }),
      handle: async (request) => {
        requests.push(request);
        return answer(request);
      },
      onRefused: ({ reason }) => refusals.push(reason),
    });
    const [port = 0, accountingPort = 0] = server.ports;
    ports = { port, accountingPort };
    proxy = await startTestFreeradius({ role: 'proxy', to: { ...ports, secret } });
  });

  afterAll(async () => {
    await proxy?.stop();
    await server?.close({ timeoutMs: 0 });
  });

  /** It waits so many seconds: fewer where there is to be no answer. */
  const radclient = (
    attributes: string,
    kind = 'auth',
    port = ports.port,
    own = secret,
    seconds = '8',
  ) =>
    run('radclient', ['-x', '-r', '1', '-t', seconds, `127.0.0.1:${port}`, kind, own], attributes);
  const signed = ',Message-Authenticator=0x00';

  it('radclient: PAP is accepted or rejected, any bytes as the password', async () => {
    const right = await radclient(`User-Name="alice",User-Password="pässwörd"${signed}`);
    expect(right).toContain('Received Access-Accept');
    expect(right).toContain('Reply-Message = "Welcome"');
    const wrong = await radclient(`User-Name="alice",User-Password="wrong"${signed}`);
    expect(wrong).toContain('Received Access-Reject');
    const bytes = await radclient(`User-Name="bytes",User-Password="\\377\\376A"${signed}`);
    expect(bytes).toContain('Received Access-Accept');
  });

  it('radclient: with another secret there is no answer', async () => {
    const attributes = `User-Name="alice",User-Password="pässwörd"${signed}`;
    const output = await radclient(attributes, 'auth', ports.port, 'another', '1');
    expect(output).not.toContain('Received');
    const isRefused = () => refusals.includes('message_authenticator_invalid');
    await waitFor('the refusal', isRefused, { timeoutMs: 5000 });
  });

  it('radclient: without Message-Authenticator there is no answer, unless it is observed or off', async () => {
    const unsigned = 'User-Name="alice",User-Password="pässwörd"';
    const dropped = await radclient(unsigned, 'auth', ports.port, secret, '1');
    expect(dropped).not.toContain('Received');
    try {
      policy = 'observe';
      expect(await radclient(unsigned)).toContain('Received Access-Accept');
      policy = 'off';
      expect(await radclient(unsigned)).toContain('Received Access-Accept');
    } finally {
      policy = 'require';
    }
    expect(refusals).toEqual(
      expect.arrayContaining([
        'message_authenticator_missing',
        'message_authenticator_observed_missing',
      ]),
    );
  });

  it('radtest: its Message-Authenticator is valid', async () => {
    const server = `127.0.0.1:${ports.port}`;
    const output = await run('radtest', ['-t', 'pap', 'alice', 'pässwörd', server, '1', secret]);
    expect(output).toContain('Received Access-Accept');
  });

  it('radclient: a question is answered with its State', async () => {
    const first = await radclient(`User-Name="carol",User-Password="secret"${signed}`);
    expect(first).toContain('Received Access-Challenge');
    expect(first).toContain('Reply-Message = "Code, please"');
    const [, state] = /State = (0x[0-9a-f]+)/.exec(first) ?? [];
    const attributes = `User-Name="carol",User-Password="123456",State=${state}${signed}`;
    expect(await radclient(attributes)).toContain('Received Access-Accept');
  });

  it('radclient: opens the keys that we hide', async () => {
    const output = await radclient(`User-Name="keys",User-Password="x"${signed}`);
    expect(output).toContain('MS-MPPE-Send-Key = 0x00112233445566778899aabbccddeeff');
    expect(output).toContain('MS-MPPE-Recv-Key = 0xffeeddccbbaa99887766554433221100');
    expect(output).toContain('Tunnel-Password:1 = "tunnel secret"');
  });

  it('radclient: Status-Server and Accounting-Request are answered', async () => {
    const status = await radclient('Message-Authenticator=0x00', 'status');
    expect(status).toContain('Received Access-Accept');
    const accounting = 'User-Name="alice",Acct-Status-Type=Start,Acct-Session-Id="7"';
    const output = await radclient(accounting, 'acct', ports.accountingPort);
    expect(output).toContain('Received Accounting-Response');
    const other = await radclient(accounting, 'acct', ports.accountingPort, 'another', '1');
    expect(other).not.toContain('Received');
  });

  it('FreeRADIUS as a proxy: PAP, the question and accounting pass both ways', async () => {
    const attributes =
      'User-Name="alice",User-Password="pässwörd",Proxy-State=0x01,Proxy-State=0x02';
    const output = await radclient(attributes, 'auth', proxy.port, proxy.secret);
    expect(output).toContain('Received Access-Accept');
    const seen = findValues(requests.at(-1)?.attributes ?? [], 'Proxy-State');
    expect(seen.length).toBeGreaterThanOrEqual(3);
    expect(seen.slice(0, 2).map((value) => value.toString('hex'))).toEqual(['01', '02']);
    expect(output.indexOf('Proxy-State = 0x02')).toBeGreaterThan(
      output.indexOf('Proxy-State = 0x01'),
    );

    const ask = 'User-Name="carol",User-Password="secret"';
    const question = await radclient(ask, 'auth', proxy.port, proxy.secret);
    expect(question).toContain('Received Access-Challenge');
    const [, state] = /State = (0x[0-9a-f]+)/.exec(question) ?? [];
    const reply = `User-Name="carol",User-Password="123456",State=${state}`;
    expect(await radclient(reply, 'auth', proxy.port, proxy.secret)).toContain('Access-Accept');

    const accounting = 'User-Name="alice",Acct-Status-Type=Start,Acct-Session-Id="8"';
    const done = await radclient(accounting, 'acct', proxy.accountingPort, proxy.secret);
    expect(done).toContain('Received Accounting-Response');
  });

  it('FreeRADIUS as a proxy: MSCHAPv2 and CHAP arrive whole', async () => {
    const response = `0x0100${'22'.repeat(16)}${'00'.repeat(8)}${'33'.repeat(24)}`;
    const mschap = `User-Name="dave",MS-CHAP-Challenge=0x${'11'.repeat(16)},MS-CHAP2-Response=${response}`;
    await radclient(mschap, 'auth', proxy.port, proxy.secret);
    const { attributes = [] } = requests.at(-1) ?? {};
    expect(findSignInProtocol(attributes)).toBe('mschapv2');
    expect(readMschapV2(attributes)).toEqual({
      identifier: 1,
      challenge: Buffer.alloc(16, 0x11),
      peerChallenge: Buffer.alloc(16, 0x22),
      ntResponse: Buffer.alloc(24, 0x33),
    });
    await radclient('User-Name="dave",CHAP-Password="x"', 'auth', proxy.port, proxy.secret);
    expect(findSignInProtocol(requests.at(-1)?.attributes ?? [])).toBe('chap');
  });
});

function run(command: string, args: readonly string[], input?: string): Promise<string> {
  return runTool({ command, args, ...(input !== undefined && { input }) });
}

/** What the layer above will do, in short. */
async function answer(request: ServerRequest): Promise<Reply> {
  const name = findText(request.attributes, 'User-Name');
  const state = findValue(request.attributes, 'State');
  const password = request.password?.toString('latin1');
  const accept = (...attributes: Reply['attributes']) => ({ code: 2, attributes });
  if (request.service === 'accounting') return { code: 5, attributes: [] };
  if (name === 'keys') return accept(...makeKeys(request));
  if (name === 'bytes' && password === '\xff\xfeA') return accept();
  if (name === 'alice' && request.password?.toString() === 'pässwörd') {
    return accept(makeAttribute('Reply-Message', 'Welcome'));
  }
  if (name === 'carol' && state?.toString() === 'asked' && password === '123456') return accept();
  if (name !== 'carol' || password !== 'secret') return { code: 3, attributes: [] };
  const question = makeAttribute('Reply-Message', 'Code, please');
  return { code: 11, attributes: [question, makeAttribute('State', 'asked')] };
}

function makeKeys({ authenticator }: ServerRequest): Reply['attributes'] {
  const exchange = { secret: Buffer.from(secret), authenticator };
  const salt = makeSalts();
  const hide = (key: Buffer) => hideSalted(key, salt(), exchange);
  const send = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
  const receive = Buffer.from('ffeeddccbbaa99887766554433221100', 'hex');
  const tunnel = Buffer.concat([Buffer.from([1]), hide(Buffer.from('tunnel secret'))]);
  return [
    makeAttribute('MS-MPPE-Send-Key', hide(send)),
    makeAttribute('MS-MPPE-Recv-Key', hide(receive)),
    makeAttribute('Tunnel-Password', tunnel),
    makeAttribute('MS-CHAP-MPPE-Keys', hideUserPassword(Buffer.alloc(32, 1), exchange)),
  ];
}
