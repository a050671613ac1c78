import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { UdpPeer } from '@countersign/radius/testing';
import { waitFor } from '@countersign/testing';
import type { Machine } from './machine.ts';

const PROGRAM = fileURLToPath(new URL('udp-peer-process.ts', import.meta.url));

type Told = { port: number } | { bytes: string };

/** As `openUdpPeer`, with its socket in the network of a machine. */
export async function openUdpPeerIn(
  machine: Machine,
  to: { address: string; port: number; from: string },
): Promise<UdpPeer> {
  const args = [`--net=${machine.networkFile}`, process.execPath, PROGRAM, to.from];
  const child = spawn('/usr/bin/nsenter', args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const received: Buffer[] = [];
  let port = 0;
  child.on('message', (told: Told) => {
    if ('port' in told) port = told.port;
    else received.push(Buffer.from(told.bytes, 'base64'));
  });
  await waitFor('a socket in a machine', () => port, { timeoutMs: 10_000 });
  return {
    port,
    received,
    send: (bytes) => {
      child.send({ port: to.port, address: to.address, bytes: bytes.toString('base64') });
    },
    untilReceived: async (count) => {
      await waitFor(`${count} datagrams`, () => received.length >= count, { timeoutMs: 5000 });
      return received;
    },
    [Symbol.asyncDispose]: async () => {
      child.disconnect();
      await once(child, 'exit');
    },
  };
}
