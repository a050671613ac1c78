import { connect } from 'node:net';

import { expect, it } from 'vitest';

import { isListening } from './is-listening.ts';
import { startTestNats } from './start-test-nats.ts';
import { waitFor } from './wait-for.ts';

function greets(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port) });
    const finish = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(200, () => finish(false));
    socket.once('data', (data) => finish(data.toString().startsWith('INFO ')));
    socket.once('error', () => finish(false));
    // A container engine takes connections before the server in it does, and drops them.
    socket.once('close', () => finish(false));
  });
}

async function untilGreeted(url: string): Promise<void> {
  await waitFor(`a greeting of ${url}`, () => greets(url), { timeoutMs: 15_000 });
}

it('three servers run; one can be killed, restarted, paused and resumed; stop ends all', async () => {
  const nats = await startTestNats({ servers: 3 });
  const [first = '', second = ''] = nats.urls;
  for (const url of nats.urls) await untilGreeted(url);

  await nats.kill(0);
  expect(await greets(first)).toBe(false);
  await nats.restart(0);
  await untilGreeted(first);

  await nats.pause(1);
  await waitFor('the paused server to fall silent', async () => !(await greets(second)), {
    timeoutMs: 15_000,
  });
  await nats.resume(1);
  await untilGreeted(second);

  await nats.pause(2);
  await nats.stop();
  // The kernel would still take connections for a server that is only paused.
  for (const url of nats.urls) expect(await isListening(Number(new URL(url).port))).toBe(false);
}, 90_000);
