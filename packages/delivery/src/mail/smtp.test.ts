import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

import { hasSmtpServer, startTestSmtp, type TestSmtp } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { smtpSettings } from '../settings-schema.ts';
import { createSmtpSender } from './smtp.ts';

const mail = {
  id: '0192f0c1-7b7e-7000-8000-000000000001',
  to: 'alice@example.org',
  subject: 'Uw pincode: Zoë & co',
  text: 'Beste Zoë,\n\n.een regel met een punt\n..\nFrom here to there\n',
};

const base = { kind: 'smtp', name: 'mail', host: '127.0.0.1', from: 'mfa@acme.example' };

function send(settings: object, changes: object = {}, timeoutMs = 5_000, signal?: AbortSignal) {
  const sender = createSmtpSender(smtpSettings.parse({ ...base, ...settings }));
  return sender.send({ ...mail, ...changes }, { timeoutMs, ...(signal && { signal }) });
}

/** A far side that listens and does what `serve` says. */
async function listen(
  serve: (socket: Socket) => void,
): Promise<{ port: number } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A link to a real server that breaks in the middle of a conversation. */
function relayTo(port: number, cuts: { atClientSaying: RegExp } | { atServerSaying: RegExp }) {
  return listen((socket) => {
    const upstream = connect({ host: '127.0.0.1', port });
    upstream.on('error', () => {});
    let said = '';
    const cut = () => {
      socket.destroy();
      // The server has what it has: it is not told of the break before it has answered.
      upstream.once('data', () => upstream.destroy());
    };
    socket.on('data', (chunk) => {
      upstream.write(chunk);
      said += chunk.toString('latin1');
      if ('atClientSaying' in cuts && cuts.atClientSaying.test(said)) cut();
    });
    upstream.on('data', (chunk) => {
      if ('atServerSaying' in cuts && cuts.atServerSaying.test(chunk.toString('latin1'))) {
        socket.destroy();
        upstream.destroy();
      } else socket.write(chunk);
    });
    socket.once('close', () => socket.destroyed && upstream.end());
  });
}

describe.skipIf(!hasSmtpServer)(
  'mail to a real SMTP server (needs python3-aiosmtpd, openssl)',
  () => {
    let plain: TestSmtp;
    let starttls: TestSmtp;
    let implicit: TestSmtp;
    const login = { user: 'mfa', password: 'pässword "1"' };
    beforeAll(async () => {
      [plain, starttls, implicit] = await Promise.all([
        startTestSmtp({ tls: 'none' }),
        startTestSmtp({ tls: 'starttls', ...login }),
        startTestSmtp({ tls: 'implicit' }),
      ]);
    });
    afterAll(() => Promise.all([plain, starttls, implicit].map((server) => server?.stop())));

    const toPlain = () => ({ port: plain.port, security: 'plain' });
    const arrived = async (id: string) =>
      (await plain.received()).filter(({ content }) => content.includes(`Message-ID: <${id}@`));

    it('a mail arrives as it was written, and its Message-ID is made of its id', async () => {
      const result = await send({ ...toPlain(), fromName: 'Acme "IT", <b> & co' });
      const messageId = `<${mail.id}@acme.example>`;
      expect(result).toEqual({ sent: true, provider: 'mail', providerId: messageId });
      const [received, ...more] = await arrived(mail.id);
      expect(more).toEqual([]);
      expect(received).toMatchObject({ from: 'mfa@acme.example', to: ['alice@example.org'] });
      const [head = '', body = ''] = (received?.content ?? '').split(/\r?\n\r?\n(.*)/s);
      expect(head).toContain('From: "Acme \\"IT\\", <b> & co" <mfa@acme.example>');
      expect(head).toContain('To: alice@example.org');
      expect(head).toContain('Subject: =?UTF-8?Q?Uw_pincode=3A_Zo=C3=AB_=26_co?=');
      expect(head).toContain('Auto-Submitted: auto-generated');
      expect(head).toContain('Content-Type: text/plain; charset=utf-8');
      const decoded = body
        .replace(/=\r?\n/g, '')
        .replace(/(?:=[0-9A-F]{2})+/g, (bytes) =>
          Buffer.from(bytes.replaceAll('=', ''), 'hex').toString(),
        );
      expect(decoded.replaceAll('\r\n', '\n').trimEnd()).toBe(mail.text.trimEnd());
    });

    it('STARTTLS with an authority of our own and a password', async () => {
      const settings = { port: starttls.port, trustedCertificates: starttls.authority, ...login };
      expect(await send(settings)).toMatchObject({ sent: true });
      expect(await starttls.received()).toEqual([
        expect.objectContaining({ isEncrypted: true, isAuthenticated: true }),
      ]);
    });

    it('nothing is said to a server whose certificate is by nobody we trust', async () => {
      const before = (await starttls.received()).length;
      const result = await send({ port: starttls.port, ...login });
      expect(result).toMatchObject({ sent: false, outcome: 'failed' });
      const implied = await send({ port: implicit.port, security: 'tls' });
      expect(implied).toMatchObject({ sent: false, outcome: 'failed' });
      expect(await starttls.received()).toHaveLength(before);
      expect(await implicit.received()).toEqual([]);
    });

    it('TLS from the first byte', async () => {
      const trustedCertificates = implicit.authority;
      const settings = { port: implicit.port, security: 'tls', trustedCertificates };
      expect(await send(settings)).toMatchObject({ sent: true });
      expect(await implicit.received()).toEqual([expect.objectContaining({ isEncrypted: true })]);
    });

    it('a server without STARTTLS gets no mail unless plain is set', async () => {
      const before = (await plain.received()).length;
      const result = await send({ port: plain.port, security: 'starttls' });
      expect(result).toMatchObject({ sent: false, outcome: 'failed' });
      expect(await plain.received()).toHaveLength(before);
    });

    it('a wrong password is a failure that tells neither user nor password', async () => {
      const trustedCertificates = starttls.authority;
      const wrong = { user: 'mfa', password: 'wrong-password' };
      const result = await send({ port: starttls.port, trustedCertificates, ...wrong });
      expect(result).toMatchObject({ sent: false, outcome: 'failed' });
      expect((result as { reason: string }).reason).toContain('EAUTH, 535');
      expect(JSON.stringify(result)).not.toContain('wrong-password');
    });

    it('a refused recipient is told from one that is only refused now', async () => {
      expect(await send(toPlain(), { to: 'refused@example.org' })).toMatchObject({
        outcome: 'refused',
        reason: 'the mail server answered 550 5.1.1 to RCPT TO',
      });
      expect(await send(toPlain(), { to: 'later@example.org' })).toMatchObject({
        outcome: 'failed',
        reason: 'the mail server answered 451 4.7.1 to RCPT TO',
      });
    });

    it('a mail refused after it was read is refused, and its words stay out of the reason', async () => {
      const text = 'Your first PIN is 918273';
      const result = await send(toPlain(), { to: 'spam@example.org', text });
      expect(result).toMatchObject({ sent: false, outcome: 'refused' });
      expect((result as { reason: string }).reason).toBe(
        'the mail server answered 554 5.7.1 to DATA',
      );
    });

    it('a link that breaks before the mail was handed over: not sent, and it did not arrive', async () => {
      await using relay = await relayTo(plain.port, { atServerSaying: /^354/ });
      const result = await send({ port: relay.port, security: 'plain' }, { id: 'broken-before' });
      expect(result).toMatchObject({ sent: false, outcome: 'failed' });
      expect(await arrived('broken-before')).toEqual([]);
    });

    it('a link that breaks before the answer: unknown, and it did arrive', async () => {
      await using relay = await relayTo(plain.port, { atServerSaying: /^250 2\.0\.0 taken/ });
      const result = await send({ port: relay.port, security: 'plain' }, { id: 'broken-after' });
      expect(result).toMatchObject({ sent: false, outcome: 'unknown' });
      expect(await arrived('broken-after')).toHaveLength(1);
      // Whoever sends it again anyway can be told: it is the same mail.
      await send(toPlain(), { id: 'broken-after' });
      expect(await arrived('broken-after')).toHaveLength(2);
    });

    it('headers cannot be injected through subject, name or text', async () => {
      const id = 'injection';
      await send(
        { ...toPlain(), fromName: 'Acme' },
        {
          id,
          subject: 'Hi\r\nBcc: eve@example.org\r\n\r\nbody',
          text: 'x\r\n.\r\nMAIL FROM:<eve@example.org>\r\n',
        },
      );
      const [received, ...more] = await arrived(id);
      expect(more).toEqual([]);
      expect(received?.to).toEqual(['alice@example.org']);
      expect(received?.content).not.toMatch(/^Bcc:/im);
      expect(received?.content).toMatch(/^Subject: Hi Bcc: eve@example.org body\r?$/m);
    });
  },
);

it('an address that could be read as two, or as a command, is refused', async () => {
  for (const to of [
    'alice@example.org, eve@example.org',
    'alice@example.org\r\nRCPT TO:<eve@example.org>',
    '"eve@example.org x"@example.com',
    'Alice <alice@example.org>',
    'alice',
    '@example.org',
    'alice@',
    'alice@@example.org',
    'alice@-example.org',
    'a..b@example.org',
    `${'a'.repeat(65)}@example.org`,
    'alicé@example.org',
    'alice@exa mple.org',
  ]) {
    const result = await send({ port: 1, security: 'plain' }, { to });
    expect([to, result]).toEqual([to, expect.objectContaining({ outcome: 'refused' })]);
  }
});

it('a server that hangs is given up at the deadline', async () => {
  await using silent = await listen(() => {});
  await using greeting = await listen((socket) => socket.write('220 mail.test ESMTP\r\n'));
  for (const { port } of [silent, greeting]) {
    const startedAt = performance.now();
    const result = await send({ port, security: 'plain' }, {}, 200);
    expect(result).toMatchObject({ sent: false, outcome: 'failed' });
    expect((result as { reason: string }).reason).toContain('ETIMEDOUT');
    expect(performance.now() - startedAt).toBeLessThan(8_000);
  }
});

/** Takes a mail like a server, and then says `last`. */
function takeMail(socket: Socket, last: (socket: Socket) => void): void {
  let isData = false;
  let pending = '';
  socket.write('220 mail.test ESMTP\r\n');
  socket.on('data', (chunk) => {
    pending += chunk.toString('latin1');
    if (isData) {
      if (pending.endsWith('\r\n.\r\n')) last(socket);
      return;
    }
    if (!pending.endsWith('\r\n')) return;
    isData = pending.startsWith('DATA');
    pending = '';
    socket.write(isData ? '354 go on\r\n' : '250 OK\r\n');
  });
}

it('a server that hangs, vanishes or babbles after it had the mail leaves it unknown', async () => {
  const endings: ((socket: Socket) => void)[] = [
    () => {},
    (socket) => socket.end(),
    (socket) => socket.destroy(),
    (socket) => socket.end('250 O'),
    (socket) => socket.end('421 4.3.0 shutting down'),
    (socket) => socket.write('x'.repeat(100_000)),
  ];
  for (const [index, ending] of endings.entries()) {
    await using server = await listen((socket) => takeMail(socket, ending));
    const result = await send({ port: server.port, security: 'plain' }, {}, 4_000);
    expect([index, result]).toEqual([index, expect.objectContaining({ outcome: 'unknown' })]);
  }
});

it('a caller that gives up gets its answer at once', async () => {
  const abort = new AbortController();
  await using server = await listen(() => abort.abort());
  const settings = { port: server.port, security: 'plain' };
  expect(await send(settings, {}, 60_000, abort.signal)).toMatchObject({ outcome: 'failed' });
  expect(await send(settings, {}, 60_000, abort.signal)).toMatchObject({ outcome: 'failed' });
});

it('a server that is none, or is not there, has sent nothing', async () => {
  const talkTo = async (port: number) => await send({ port, security: 'plain' });
  let port = 0;
  {
    await using web = await listen((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    ({ port } = web);
    expect(await talkTo(port)).toMatchObject({ outcome: 'failed' });
  }
  expect(await talkTo(port)).toMatchObject({ outcome: 'failed' });
});

it('settings never send a password in the clear', () => {
  const isFine = (changes: object) => smtpSettings.safeParse({ ...base, ...changes }).success;
  expect(isFine({ user: 'a', password: 'b' })).toBe(true);
  expect(isFine({ user: 'a', password: 'b', security: 'plain' })).toBe(false);
  expect(isFine({ user: 'a' })).toBe(false);
  expect(isFine({ from: 'Acme <a@acme.example>' })).toBe(false);
  expect(isFine({ fromName: 'Acme\r\nBcc: eve@example.org' })).toBe(false);
});
