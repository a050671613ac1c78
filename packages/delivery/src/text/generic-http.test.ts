import { hasKannel, startTestKannel, waitFor, type TestKannel } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { AddressPolicy } from '../http/check-address.ts';
import { startRemote } from '../http/remote-trial.ts';
import { genericHttpSettings } from '../settings-schema.ts';
import { createGenericHttpSender } from './generic-http.ts';

const noLimits = { clusterAddresses: [], allowedHosts: [] };
const message = { id: 'text-1', to: '+31612345678', text: 'Acme: code 123456' };
const timeoutMs = 5_000;

describe.skipIf(!hasKannel)('texts through a real Kannel (needs kannel, kannel-extras)', () => {
  let kannel: TestKannel;
  beforeAll(async () => {
    kannel = await startTestKannel();
  });
  afterAll(() => kannel.stop());

  function sender(changes: object = {}) {
    const settings = genericHttpSettings.parse({
      kind: 'generic-http',
      name: 'kannel',
      url: `http://${kannel.host}`,
      method: 'GET',
      path: '/cgi-bin/sendsms',
      query: {
        username: kannel.user,
        password: '<$secret.password$>',
        to: '<$to$>',
        from: 'Acme',
        text: '<$text$>',
        charset: 'UTF-8',
        coding: '0',
      },
      secrets: { password: kannel.password },
      success: { statusFrom: 202, statusTo: 202, bodyMatches: '^0: Accepted' },
      costPerSegment: { amount: 0.08, currency: 'EUR' },
      ...changes,
    });
    return createGenericHttpSender(settings, { clusterAddresses: [], allowedHosts: [kannel.host] });
  }

  const arrived = (text: string) =>
    waitFor(
      `"${text}" at the phone network`,
      async () => (await kannel.received()).find((received) => received.text === text),
      { timeoutMs: 10_000 },
    );

  it('a text arrives at the phone network as it was written', async () => {
    const text = 'Acme: code 123456 &text=evil#x %00 + "quoted" [ok]';
    expect(await sender().send({ ...message, text }, { timeoutMs })).toEqual({
      sent: true,
      provider: 'kannel',
      cost: { segments: 1, amount: 0.08, currency: 'EUR' },
    });
    expect(await arrived(text)).toEqual({ from: 'Acme', to: '+31612345678', text });
  });

  it('a text outside the default alphabet arrives whole', async () => {
    const query = { username: kannel.user, password: '<$secret.password$>', to: '<$to$>' };
    const utf16 = sender({
      query: { ...query, from: 'Acme', text: '<$text$>', charset: 'UTF-8', coding: '2' },
    });
    const text = 'код 123456 für Zoë 😀';
    expect(await utf16.send({ ...message, text }, { timeoutMs })).toMatchObject({ sent: true });
    expect((await arrived(text)).to).toBe('+31612345678');
  });

  it('wrong credentials are a failure of the provider', async () => {
    const result = await sender({ secrets: { password: 'wrong' } }).send(message, { timeoutMs });
    expect(result).toMatchObject({ sent: false, outcome: 'failed', reason: 'HTTP 403' });
  });
});

describe('texts through any HTTP gateway', () => {
  const value = (changes: object) => ({
    kind: 'generic-http',
    name: 'gateway',
    url: 'http://127.0.0.1:1',
    path: '/',
    ...changes,
  });
  const send = (
    origin: string,
    changes: object,
    text = message.text,
    policy: AddressPolicy = { clusterAddresses: [], allowedHosts: [new URL(origin).host] },
  ) => {
    const settings = genericHttpSettings.parse(value({ url: origin, ...changes }));
    return createGenericHttpSender(settings, policy).send({ ...message, text }, { timeoutMs });
  };

  it('every value is encoded for its place', async () => {
    await using remote = await startRemote((_request, response) => response.end('ok id=ab-12'));
    const text = '"}, \\ &x=1 ?#/../\u2028é';
    const result = await send(
      remote.origin,
      {
        path: '/v1/<$to$>/<$text$>',
        query: { t: '<$text$>', k: '<$secret.key$>' },
        headers: { 'X-Id': '<$id$>/<$to_digits$>', Authorization: 'Bearer <$secret.key$>' },
        body: { kind: 'json', value: { m: [{ body: '<$text$>', to: '<$to$>' }], n: 1, z: null } },
        secrets: { key: 'k&e y' },
        success: { bodyMatches: 'id=(?<id>[a-z0-9-]+)', bodyIncludes: 'ok' },
      },
      text,
    );
    expect(result).toMatchObject({ sent: true, providerId: 'ab-12' });
    const [request] = remote.requests;
    const url = new URL(request?.url ?? '', remote.origin);
    expect(url.pathname.split('/').map(decodeURIComponent)).toEqual(['', 'v1', message.to, text]);
    expect([...url.searchParams]).toEqual([
      ['t', text],
      ['k', 'k&e y'],
    ]);
    expect(request?.headers).toMatchObject({
      'x-id': 'text-1/31612345678',
      authorization: 'Bearer k&e y',
      'content-type': 'application/json',
    });
    const body: unknown = JSON.parse(request?.body ?? '');
    expect(body).toEqual({ m: [{ body: text, to: message.to }], n: 1, z: null });
  });

  it('a form cannot be given another field by a value', async () => {
    await using remote = await startRemote((_request, response) => response.end());
    const body = { kind: 'form', fields: { to: '<$to$>', text: '<$text$>' } };
    await send(remote.origin, { body }, 'a&to=+1900\r\nx: y');
    expect([...new URLSearchParams(remote.requests[0]?.body)]).toEqual([
      ['to', message.to],
      ['text', 'a&to=+1900\r\nx: y'],
    ]);
  });

  it('a value that would change the path or a header sends nothing', async () => {
    await using remote = await startRemote((_request, response) => response.end());
    const inPath = await send(remote.origin, { path: '/a/<$text$>/send' }, '..');
    expect(inPath).toMatchObject({ sent: false, outcome: 'refused' });
    const header = { headers: { 'x-text': '<$text$>' } };
    for (const text of ['a\r\nx-admin: yes', 'a\nb', 'é']) {
      expect(await send(remote.origin, header, text)).toMatchObject({ outcome: 'refused' });
    }
    expect(remote.requests).toEqual([]);
  });

  it('redirects are not followed', async () => {
    await using elsewhere = await startRemote((_request, response) => response.end());
    await using remote = await startRemote((_request, response) => {
      response.writeHead(307, { location: elsewhere.origin }).end();
    });
    const body = { kind: 'form', fields: { text: '<$text$>' } };
    const result = await send(remote.origin, { body });
    expect(result).toMatchObject({ outcome: 'failed', reason: 'HTTP 307' });
    expect(elsewhere.requests).toEqual([]);
  });

  it('an answer that is not that of a success may have been one', async () => {
    await using remote = await startRemote((_request, response) => response.end('ERR no credit'));
    const unknown = { sent: false, outcome: 'unknown' };
    expect(await send(remote.origin, { success: { bodyIncludes: 'OK' } })).toMatchObject(unknown);
    expect(await send(remote.origin, { success: { bodyMatches: '^OK' } })).toMatchObject(unknown);
  });

  it('a regular expression that goes wild is no match and ends', async () => {
    await using remote = await startRemote((_request, response) => response.end('a'.repeat(4_000)));
    const startedAt = performance.now();
    const result = await send(remote.origin, { success: { bodyMatches: '^(a+)+$b' } });
    expect(result).toMatchObject({ outcome: 'unknown' });
    expect(performance.now() - startedAt).toBeLessThan(8_000);
  });

  it('addresses of this machine, of links and of the cluster are refused unless allowed', async () => {
    await using remote = await startRemote((_request, response) => response.end());
    const { port } = new URL(remote.origin);
    const policy = { clusterAddresses: ['192.0.2.0/24', '2001:db8::1'], allowedHosts: [] };
    for (const host of [
      '127.0.0.1',
      'localhost',
      '2130706433',
      '0x7f.1',
      '0.0.0.0',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '[::]',
      '[64:ff9b::7f00:1]',
      '169.254.169.254',
      '[fe80::1]',
      '192.0.2.7',
      '[::ffff:192.0.2.7]',
      '[2001:db8::1]',
      '224.0.0.1',
      '255.255.255.255',
    ]) {
      const result = await send(`https://${host}:${port}`, {}, 'x', policy);
      expect([host, result]).toEqual([host, expect.objectContaining({ outcome: 'failed' })]);
      expect((result as { reason: string }).reason).toContain('not allowed on this node');
    }
    expect(remote.requests).toEqual([]);
  });

  it('plain http goes only to hosts that the node allows, by name and port', async () => {
    await using remote = await startRemote((_request, response) => response.end());
    const { port } = new URL(remote.origin);
    const policy = (host: string) => ({ clusterAddresses: [], allowedHosts: [host] });
    expect(await send(remote.origin, {}, 'x', noLimits)).toMatchObject({ outcome: 'failed' });
    const wrong = [`localhost:${port}`, '127.0.0.1', '127.0.0.1:1', `.0.0.1:${port}`];
    for (const host of wrong) {
      expect(await send(remote.origin, {}, 'x', policy(host))).toMatchObject({ outcome: 'failed' });
    }
    expect(remote.requests).toEqual([]);
    const right = policy(`localhost:${port}`);
    expect(await send(`http://localhost:${port}`, {}, 'x', right)).toMatchObject({ sent: true });
  });

  it('a name is resolved once, and what was checked is what is connected to', async () => {
    await using remote = await startRemote((_request, response) => response.end());
    const { port } = new URL(remote.origin);
    const answers = [[{ address: '127.0.0.1', family: 4 }], [{ address: '192.0.2.1', family: 4 }]];
    let asked = 0;
    const resolveName = () => Promise.resolve(answers[asked++] ?? []);
    const host = `gateway.invalid:${port}`;
    const policy = { clusterAddresses: [], allowedHosts: [host], resolveName };
    expect(await send(`http://${host}`, {}, 'x', policy)).toMatchObject({ sent: true });
    expect(asked).toBe(1);
    expect(remote.requests[0]?.headers.host).toBe(host);
  });

  it('a resolver that hangs is given up at the deadline', async () => {
    const resolveName = () => new Promise<never>(() => {});
    const policy = { clusterAddresses: [], allowedHosts: [], resolveName };
    const settings = genericHttpSettings.parse(value({ url: 'https://gateway.invalid' }));
    const result = await createGenericHttpSender(settings, policy).send(message, {
      timeoutMs: 100,
    });
    expect(result).toMatchObject({ outcome: 'failed' });
    expect((result as { reason: string }).reason).toContain('not resolved in time');
  });

  it('a name that also stands for a refused address is not used at all', async () => {
    const resolveName = () =>
      Promise.resolve([
        { address: '203.0.114.1', family: 4 },
        { address: '::ffff:10.1.2.3', family: 6 },
      ]);
    const policy = { clusterAddresses: ['10.1.0.0/16'], allowedHosts: [], resolveName };
    const result = await send('https://gateway.invalid', {}, 'x', policy);
    expect(result).toMatchObject({ outcome: 'failed' });
    expect((result as { reason: string }).reason).toContain('a cluster address');
  });

  it('settings are refused where a value could choose the host or a template is wrong', () => {
    const isRefused = (changes: object) => !genericHttpSettings.safeParse(value(changes)).success;
    for (const url of [
      'https://<$to$>',
      'https://gateway.example/<$to$>',
      'https://user:password@gateway.example',
      'https://gateway.example?x=<$to$>',
      '<$text$>://x',
      'ftp://gateway.example',
      'https://a.example#b',
    ]) {
      expect([url, isRefused({ url })]).toEqual([url, true]);
    }
    for (const path of [
      'x',
      '/a?b=<$text$>',
      '/../a',
      '/a/./b',
      '/a b',
      '/%2e%2e',
      '/<$nobody$>',
    ]) {
      expect([path, isRefused({ path })]).toEqual([path, true]);
    }
    expect(isRefused({ headers: { Host: 'evil.example' } })).toBe(true);
    expect(isRefused({ headers: { 'x y': 'z' } })).toBe(true);
    expect(isRefused({ query: { a: '<$code>' } })).toBe(true);
    expect(isRefused({ body: { kind: 'json', value: { a: ['<$secret.key$>'] } } })).toBe(true);
    expect(isRefused({ success: { bodyMatches: '(' } })).toBe(true);
    expect(isRefused({ path: '/v1/<$to$>/send' })).toBe(false);
  });

  it('a wrong placeholder is named, with those that are known', () => {
    const parsed = genericHttpSettings.safeParse(value({ query: { q: 'Hi <$nmae$>' } }));
    expect(parsed.error?.issues).toEqual([
      expect.objectContaining({
        path: ['query', 'q'],
        message: '<$nmae$> is unknown here; known are <$id$> <$to$> <$to_digits$> <$text$>',
      }),
    ]);
  });
});
