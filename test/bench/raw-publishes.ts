import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { NatsLink } from '@countersign/cluster';
import { deriveKeys, passwordFor, readClusterKey } from '@countersign/keys';
import { readNodeConfig } from '@countersign/node';
import type { TestCluster } from '../harness/cluster.ts';

const STREAM = 'BENCH';
const WINDOW = 128;
const BYTES = 1200;

/** The yardstick: publishes per second to a stream of the same kind as the change log, 128 in flight, nothing else. */
export async function rawPublishesPerSecond(
  cluster: TestCluster,
  durationMs: number,
): Promise<number> {
  const config = readNodeConfig(join(cluster.nodes[0]!.folder, 'node.yaml'));
  const key = deriveKeys(readClusterKey(config.clusterKeyFile), ['nats-password'])['nats-password'];
  await using link = new NatsLink({
    servers: config.logServers.map(({ host, clientPort }) => `${host}:${clientPort}`),
    user: 'countersign',
    password: passwordFor(key),
    name: 'bench',
    log: { info() {}, warn() {} },
  });
  await ask(link, `$JS.API.STREAM.CREATE.${STREAM}`, {
    name: STREAM,
    subjects: ['bench.>'],
    storage: 'file',
    retention: 'limits',
    num_replicas: 3,
    max_msgs_per_subject: 1,
    max_bytes: 256 << 20,
    discard: 'new',
  });
  const payload = Buffer.alloc(BYTES, 'x');
  const end = performance.now() + durationMs;
  let stored = 0;
  const publishOnAndOn = async () => {
    while (performance.now() < end) {
      const reply = await link.request(`bench.${randomUUID()}`, payload, { timeoutMs: 5000 });
      if (reply.json<{ seq?: number }>().seq) stored += 1;
    }
  };
  await Promise.all(Array.from({ length: WINDOW }, publishOnAndOn));
  await ask(link, `$JS.API.STREAM.DELETE.${STREAM}`, {});
  return stored / (durationMs / 1000);
}

async function ask(link: NatsLink, subject: string, body: object): Promise<void> {
  const reply = await link.request(subject, JSON.stringify(body), { timeoutMs: 10_000 });
  const { error } = reply.json<{ error?: { description: string } }>();
  if (error) throw new Error(`${subject}: ${error.description}`);
}
