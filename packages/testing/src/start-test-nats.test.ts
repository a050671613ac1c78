import { connect } from 'node:net';

import { isRunning } from '@countersign/engines';
import { expect, it } from 'vitest';

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
  });
}

async function untilGreeted(url: string): Promise<void> {
  await waitFor(`a greeting of ${url}`, () => greets(url), { timeoutMs: 5_000 });
}

it('three servers run; one can be killed, restarted, paused and resumed; stop ends all', async () => {
  const nats = await startTestNats({ servers: 3 });
  const [first = '', second = ''] = nats.urls;
  for (const url of nats.urls) await untilGreeted(url);

  await nats.kill(0);
  expect(await greets(first)).toBe(false);
  await nats.restart(0);
  await untilGreeted(first);

  nats.pause(1);
  await waitFor('the paused server to fall silent', async () => !(await greets(second)), {
    timeoutMs: 5_000,
  });
  nats.resume(1);
  await untilGreeted(second);

  nats.pause(2);
  await nats.stop();
  expect(nats.servers.filter(({ pid }) => isRunning(pid))).toEqual([]);
}, 90_000);
