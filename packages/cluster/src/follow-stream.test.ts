import { connect as dial, createServer, type AddressInfo, type Socket } from 'node:net';
import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { followStream } from './follow-stream.ts';
import { ensureStream, publish, type StreamConfig } from './jetstream.ts';
import { NatsLink, type Log } from './nats-link.ts';

const silent: Log = { info() {}, warn() {} };
const STREAM = 'FOLLOWED';

let nats: TestNats;
let writer: NatsLink;

function connect(server: string): NatsLink {
  const { user, password } = nats;
  return new NatsLink({ servers: [server], user, password, name: 'test', log: silent });
}

beforeAll(async () => {
  nats = await startTestNats({ servers: 1 });
  writer = connect(nats.urls[0]!.replace('nats://', ''));
  const config = {
    name: STREAM,
    subjects: ['followed.>'],
    num_replicas: 1,
    max_bytes: 1 << 20,
    discard: 'old',
    allow_direct: false,
  } satisfies StreamConfig;
  await waitFor(
    'JetStream',
    () =>
      ensureStream(writer, config, 500).then(
        () => true,
        () => false,
      ),
    {
      timeoutMs: 10_000,
    },
  );
}, 60_000);

afterAll(async () => {
  await writer.close();
  await nats.stop();
});

/** Passes everything on, but the first chunk from the server that holds `marker` breaks the connection instead. */
async function startLossyRelay(target: number, marker: string) {
  let isLost = false;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = dial(target, '127.0.0.1');
    const destroy = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket.on('error', destroy).on('close', destroy));
    }
    client.on('data', (chunk) => upstream.write(chunk));
    upstream.on('data', (chunk) => {
      if (isLost || !chunk.includes(marker)) return void client.write(chunk);
      isLost = true;
      destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    get isLost() {
      return isLost;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

describe('following a stream', () => {
  it('gets the last message even if a breaking connection took it and none comes after it', async () => {
    const port = Number(nats.urls[0]!.split(':').at(-1));
    const relay = await startLossyRelay(port, 'the last one');
    const link = connect(`127.0.0.1:${relay.port}`);
    const stop = new AbortController();
    const seen: { sequence: number; text: string }[] = [];
    const following = followStream({
      link,
      stream: STREAM,
      nextSequence: () => (seen.at(-1)?.sequence ?? 0) + 1,
      onBatch: async (messages) => {
        for (const { sequence, data } of messages) {
          seen.push({ sequence, text: Buffer.from(data).toString() });
        }
      },
      maxBatch: 100,
      signal: stop.signal,
      log: silent,
    });
    await publish(writer, 'followed.a', Buffer.from('the first one'), 1000);
    await waitFor('the first message', () => seen.length === 1, { timeoutMs: 10_000 });
    await publish(writer, 'followed.a', Buffer.from('the last one'), 1000);
    await waitFor('the loss', () => relay.isLost, { timeoutMs: 5000 });
    await waitFor('the lost message', () => seen.length === 2, { timeoutMs: 8000 });
    expect(seen.map(({ text }) => text)).toEqual(['the first one', 'the last one']);
    stop.abort();
    await following;
    await link.close();
    relay.close();
  });
});
