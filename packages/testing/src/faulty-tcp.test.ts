import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';

import { expect, it, onTestFinished } from 'vitest';

import { FaultyTcp, type TcpFault } from './faulty-tcp.ts';
import { waitFor } from './wait-for.ts';

/** A server that answers each line with the same. */
async function startEcho(): Promise<{ host: string; port: number }> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

async function start(fault: TcpFault, target?: { host: string; port: number }) {
  const faulty = await FaultyTcp.start({ fault, ...(target && { target }) });
  onTestFinished(async () => await faulty[Symbol.asyncDispose]());
  return faulty;
}

/** What comes back for `text` until the far side ends, that many `bytes` are there, or `ms` have passed without any. */
async function ask(port: number, text: string, { ms = 10_000, bytes = Infinity } = {}) {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => {});
  const sentAt = performance.now();
  let [answer, firstMs, ended] = ['', Infinity, false];
  socket.on('data', (chunk) => {
    if (answer === '') firstMs = performance.now() - sentAt;
    answer += chunk.toString('latin1');
  });
  socket.once('close', () => (ended = true));
  socket.write(text);
  await Promise.race([
    once(socket, 'close'),
    new Promise((resolve) => socket.on('data', () => answer.length >= bytes && resolve(null))),
    new Promise((resolve) => socket.setTimeout(ms, () => resolve(null))),
  ]);
  const result = { answer, firstMs, ended };
  socket.destroy();
  return result;
}

it('a silent server takes what is sent and says nothing', async () => {
  const faulty = await start({ kind: 'silent' });
  const asked = await ask(faulty.port, 'hello', { ms: 200 });
  expect(asked).toMatchObject({ answer: '', ended: false });
  await waitFor('the connection', () => faulty.accepted > 0, { timeoutMs: 10_000 });
  expect(faulty.accepted).toBe(1);
});

it('garbage is answered to whatever is asked', async () => {
  const faulty = await start({ kind: 'garbage', bytes: Buffer.from('\xff\x00?', 'latin1') });
  expect(await ask(faulty.port, 'hello')).toMatchObject({
    answer: '\xff\x00?',
    ended: true,
  });
});

it('answers come later and in order', async () => {
  const faulty = await start({ kind: 'delay', ms: 150 }, await startEcho());
  const long = Array.from({ length: 50_000 }, (_none, index) => `${index};`).join('');
  const { answer, firstMs } = await ask(faulty.port, long, { bytes: long.length });
  expect(answer).toBe(long);
  expect(firstMs).toBeGreaterThan(140);
});

it('the connection is cut after so many bytes, which arrive', async () => {
  const faulty = await start({ kind: 'cut', afterBytes: 7 }, await startEcho());
  expect(await ask(faulty.port, '0123456789')).toMatchObject({
    answer: '0123456',
    ended: true,
  });
});

it('a fault that is changed is that of the next connections', async () => {
  const faulty = await start({ kind: 'silent' }, await startEcho());
  expect((await ask(faulty.port, 'hello', { ms: 100 })).answer).toBe('');
  faulty.change({ kind: 'none' });
  expect((await ask(faulty.port, 'hello', { bytes: 5 })).answer).toBe('hello');
});
