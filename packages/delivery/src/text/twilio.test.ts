import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer as createTlsServer } from 'node:https';
import type { ServerResponse } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { hasOpenssl, makeTestCertificate } from '@countersign/testing';
import { describe, expect, it } from 'vitest';

import { startRemote, type RemoteRequest } from '../http/remote-trial.ts';
import { twilioSettings } from '../settings-schema.ts';
import { createTwilioSender } from './twilio.ts';

const message = { id: 'text-1', to: '+31612345678', text: 'Acme: code 123456 & more' };
const base = {
  kind: 'twilio',
  name: 'twilio',
  accountSid: 'AC0123456789abcdef0123456789abcdef',
  secret: 'auth-token',
  from: '+3197000000000',
};

function send(
  url: string,
  { changes = {}, timeoutMs = 5_000, signal }: Trial = {},
): ReturnType<ReturnType<typeof createTwilioSender>['send']> {
  const settings = twilioSettings.parse({ ...base, url, ...changes });
  const policy = { clusterAddresses: [], allowedHosts: [new URL(url).host] };
  return createTwilioSender(settings, policy).send(message, {
    timeoutMs,
    ...(signal && { signal }),
  });
}

interface Trial {
  changes?: object;
  timeoutMs?: number;
  signal?: AbortSignal;
}

function created(changes: object = {}): string {
  return JSON.stringify({
    sid: 'SM00000000000000000000000000000001',
    status: 'queued',
    num_segments: '1',
    price: null,
    price_unit: 'USD',
    error_code: null,
    ...changes,
  });
}

const answering =
  (status: number, body: string) => (_request: RemoteRequest, response: ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  };

it('a text is one form as the Messages resource takes it', async () => {
  await using remote = await startRemote(answering(201, created()));
  const statusCallbackUrl = 'https://mfa.example/api/v1/texts/status?x=1&y=2';
  const result = await send(remote.origin, { changes: { statusCallbackUrl } });
  expect(result).toEqual({
    sent: true,
    provider: 'twilio',
    providerId: 'SM00000000000000000000000000000001',
    cost: { segments: 1 },
  });
  const [request] = remote.requests;
  expect(request).toMatchObject({
    method: 'POST',
    url: `/2010-04-01/Accounts/${base.accountSid}/Messages.json`,
  });
  expect(request?.headers['content-type']).toBe('application/x-www-form-urlencoded');
  const credentials = Buffer.from(request?.headers.authorization?.slice(6) ?? '', 'base64');
  expect(credentials.toString()).toBe(`${base.accountSid}:auth-token`);
  expect(Object.fromEntries(new URLSearchParams(request?.body))).toEqual({
    To: message.to,
    From: base.from,
    Body: message.text,
    StatusCallback: statusCallbackUrl,
  });
});

it('a messaging service and an API key take the place of number and account token', async () => {
  await using remote = await startRemote(answering(201, created()));
  const changes = { from: undefined, messagingServiceSid: 'MG1', apiKeySid: 'SK1', secret: 's' };
  await send(remote.origin, { changes });
  const [request] = remote.requests;
  const form = new URLSearchParams(request?.body);
  expect([form.get('MessagingServiceSid'), form.has('From')]).toEqual(['MG1', false]);
  expect(request?.headers.authorization).toBe(`Basic ${btoa('SK1:s')}`);
});

it('what a text costs is told by the provider, else by the settings', async () => {
  const answers = [
    created({ num_segments: '2', price: '-0.0158', price_unit: 'usd' }),
    created({ num_segments: '2' }),
    created({ num_segments: '-7', price: 'free' }),
  ];
  await using remote = await startRemote((_request, response) => {
    response.writeHead(201).end(answers.shift());
  });
  const changes = { costPerSegment: { amount: 0.07, currency: 'EUR' } };
  const costs = [];
  for (let call = 0; call < 3; call += 1) {
    const result = await send(remote.origin, { changes });
    costs.push(result.sent && result.cost);
  }
  expect(costs).toEqual([
    { segments: 2, amount: 0.0158, currency: 'USD' },
    { segments: 2, amount: 0.14, currency: 'EUR' },
    { segments: 1, amount: 0.07, currency: 'EUR' },
  ]);
});

it('a number that the provider will not text is refused, an account in trouble is a failure', async () => {
  const answers: [number, string][] = [
    [400, JSON.stringify({ code: 21211, message: "The 'To' number +31612345678 is not valid" })],
    [401, JSON.stringify({ code: 20003, message: 'Authenticate' })],
    [429, JSON.stringify({ code: 20429 })],
    [500, 'oops 123456'],
    [503, ''],
    [307, ''],
    [201, created({ status: 'failed' })],
  ];
  await using remote = await startRemote((request, response) => {
    const [status, body] = answers.shift() ?? [418, ''];
    answering(status, body)(request, response);
  });
  const results = [];
  for (let call = 0; call < 7; call += 1) {
    const result = await send(remote.origin);
    results.push(result.sent || [result.outcome, result.reason]);
  }
  expect(results).toEqual([
    ['refused', 'HTTP 400, code 21211'],
    ['failed', 'HTTP 401, code 20003'],
    ['failed', 'HTTP 429, code 20429'],
    ['failed', 'HTTP 500'],
    ['failed', 'HTTP 503'],
    ['failed', 'HTTP 307'],
    ['refused', 'the provider gave the message up at once, SID SM00000000000000000000000000000001'],
  ]);
});

it('a success that cannot be read may have been one', async () => {
  const bodies = ['<html>Welcome to our Wi-Fi</html>', '[]', 'null', created({ sid: '../x' }), '{'];
  await using remote = await startRemote((_request, response) => {
    response.writeHead(200).end(bodies.shift());
  });
  for (let call = 0; call < 5; call += 1) {
    expect(await send(remote.origin)).toMatchObject({ sent: false, outcome: 'unknown' });
  }
});

it('an answer without end costs neither memory nor time', async () => {
  let sentBytes = 0;
  await using remote = await startRemote((_request, response) => {
    response.writeHead(201);
    const write = () => {
      if (response.destroyed) return;
      sentBytes += 65_536;
      response.write(Buffer.alloc(65_536, 'x'), () => setImmediate(write));
    };
    write();
  });
  const result = await send(remote.origin, { timeoutMs: 4_000 });
  expect(result).toMatchObject({ outcome: 'unknown', reason: 'HTTP 201 without a message SID' });
  expect(sentBytes).toBeLessThan(50 * 1024 * 1024);
});

it('a provider that hangs after the request leaves it unknown, at the deadline', async () => {
  await using remote = await startRemote(() => {});
  const startedAt = performance.now();
  const result = await send(remote.origin, { timeoutMs: 4_000 });
  expect(result).toMatchObject({ outcome: 'unknown' });
  expect((result as { reason: string }).reason).toContain('no answer in time');
  expect(performance.now() - startedAt).toBeLessThan(8_000);
});

it('a provider that sends its headers and then nothing is no success', async () => {
  await using remote = await startRemote((_request, response) => {
    response.writeHead(201, { 'content-length': '100' }).write('{"sid":');
  });
  expect(await send(remote.origin, { timeoutMs: 4_000 })).toMatchObject({ outcome: 'unknown' });
});

it('a caller that gives up gets its answer at once', async () => {
  const abort = new AbortController();
  await using remote = await startRemote(() => abort.abort());
  const result = await send(remote.origin, { timeoutMs: 60_000, signal: abort.signal });
  expect(result).toMatchObject({ outcome: 'unknown' });
  const again = await send(remote.origin, { timeoutMs: 60_000, signal: abort.signal });
  expect(again).toMatchObject({ outcome: 'failed' });
});

it('a refused connection or a server that is none has certainly sent nothing', async () => {
  const garbage = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end('SSH-2.0-OpenSSH_9.2\r\n'));
  });
  garbage.listen(0, '127.0.0.1');
  await once(garbage, 'listening');
  const { port } = garbage.address() as AddressInfo;
  // It took our request, whatever it is.
  expect(await send(`http://127.0.0.1:${port}`)).toMatchObject({ outcome: 'unknown' });
  // TLS never came about: nothing of the text left.
  expect(await send(`https://127.0.0.1:${port}`)).toMatchObject({ outcome: 'failed' });
  garbage.close();
  await once(garbage, 'close');
  const result = await send(`http://127.0.0.1:${port}`);
  expect(result).toMatchObject({ outcome: 'failed' });
  expect((result as { reason: string }).reason).toContain('ECONNREFUSED');
});

it('no reason tells the text, the number or a secret', async () => {
  await using remote = await startRemote((request, response) => {
    answering(400, JSON.stringify({ code: 1, message: request.body + message.text }))(
      request,
      response,
    );
  });
  const text = JSON.stringify(await send(remote.origin));
  for (const hidden of ['123456', '612345678', 'auth-token']) expect(text).not.toContain(hidden);
});

it('a message that no provider could take is refused before anything is sent', async () => {
  await using remote = await startRemote(answering(201, created()));
  const settings = twilioSettings.parse({ ...base, url: remote.origin });
  const policy = { clusterAddresses: [], allowedHosts: [new URL(remote.origin).host] };
  const sender = createTwilioSender(settings, policy);
  const wrong = [{ to: '0612345678' }, { text: '' }, { text: 'x'.repeat(1_601) }, { id: 'a b' }];
  for (const changes of wrong) {
    const result = await sender.send({ ...message, ...changes }, { timeoutMs: 1_000 });
    expect(result).toMatchObject({ sent: false, outcome: 'refused' });
  }
  expect(remote.requests).toEqual([]);
});

it('settings need one sender, and a way to check the callbacks they ask for', () => {
  const isFine = (changes: object) => twilioSettings.safeParse({ ...base, ...changes }).success;
  expect(isFine({})).toBe(true);
  expect(isFine({ messagingServiceSid: 'MG1' })).toBe(false);
  expect(isFine({ from: undefined })).toBe(false);
  expect(isFine({ from: 'Acme Corp' })).toBe(true);
  expect(isFine({ from: 'x\r\ny' })).toBe(false);
  const statusCallbackUrl = 'https://mfa.example/status';
  expect(isFine({ statusCallbackUrl, apiKeySid: 'SK1' })).toBe(false);
  expect(isFine({ statusCallbackUrl, apiKeySid: 'SK1', callbackSecret: 'token' })).toBe(true);
  expect(isFine({ statusCallbackUrl: 'http://mfa.example/status' })).toBe(false);
});

describe.skipIf(!hasOpenssl)('over TLS (needs openssl)', () => {
  it('a certificate of an unknown authority gets no text, one of the settings does', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-twilio-'));
    const { authority, certificateFile, keyFile } = await makeTestCertificate(folder);
    const [cert, key] = await Promise.all([readFile(certificateFile), readFile(keyFile)]);
    let taken = 0;
    const server = createTlsServer({ cert, key }, (_request, response) => {
      taken += 1;
      response.writeHead(201).end(created());
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `https://localhost:${(server.address() as AddressInfo).port}`;
    expect(await send(url)).toMatchObject({ sent: false, outcome: 'failed' });
    expect(taken).toBe(0);
    const changes = { trustedCertificates: authority };
    expect(await send(url, { changes })).toMatchObject({ sent: true });
    server.close();
    await rm(folder, { recursive: true, force: true });
  });
});
