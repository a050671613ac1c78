import { randomBytes } from 'node:crypto';

import { renderNatsConfig } from '@countersign/engines';

import { takeFreePorts } from './free-ports.ts';
import type { TestNats } from './start-test-nats.ts';

const image = 'nats:2.10';
const clientPort = 4222;
const routePort = 6222;

/** The same as `startTestNats`, each server in a container of its own. */
export async function startNatsContainers({
  servers: count,
}: {
  servers: 1 | 3;
}): Promise<TestNats> {
  // Loaded only here: nothing but the container tests needs it.
  const { GenericContainer, getContainerRuntimeClient, Network, Wait } =
    await import('testcontainers');
  const engine = await getContainerRuntimeClient();
  const password = randomBytes(16).toString('hex');
  const network = await new Network().start();
  // Of its own choice a restarted container would come back on another port.
  const ports = await takeFreePorts(count);
  const nameOf = (index: number) => `test-${index}`;
  const others = (index: number) => ports.map((_, other) => other).filter((i) => i !== index);

  const start = (port: number, index: number) =>
    new GenericContainer(image)
      .withNetwork(network)
      .withNetworkAliases(nameOf(index))
      .withExposedPorts({ container: clientPort, host: port })
      .withCommand(['--config', '/nats.conf'])
      .withCopyContentToContainer([
        {
          target: '/nats.conf',
          content: renderNatsConfig({
            serverName: nameOf(index),
            clusterName: `test-${ports[0]}`,
            host: '0.0.0.0',
            clientPort,
            storeDirectory: '/store',
            maxStoreBytes: 1024 ** 3,
            access: { user: 'test', password },
            ...(count > 1 && {
              cluster: {
                host: '0.0.0.0',
                port: routePort,
                routes: others(index).map((other) => `${nameOf(other)}:${routePort}`),
                noAdvertise: true as const,
              },
            }),
          }),
        },
      ])
      .withWaitStrategy(Wait.forLogMessage('Server is ready'))
      .withStartupTimeout(30_000)
      .start();

  const containers = await Promise.all(ports.map(start));
  const at = (index: number) => {
    const container = containers[index];
    if (!container) throw new Error(`there is no nats-server ${index}`);
    return engine.container.getById(container.getId());
  };
  const isUp = async (index: number) => (await at(index).inspect()).State.Running;
  return {
    urls: ports.map((port) => `nats://127.0.0.1:${port}`),
    user: 'test',
    password,
    servers: [],
    kill: async (index) => {
      if (await isUp(index)) await at(index).kill({ signal: 'SIGKILL' });
      await at(index).wait();
    },
    halt: async (index) => void (await at(index).stop({ t: 10 })),
    pause: async (index) => void (await at(index).pause()),
    resume: async (index) => void (await at(index).unpause()),
    restart: async (index) => {
      if (await isUp(index)) await at(index).stop({ t: 10 });
      await at(index).start();
    },
    stop: async () => {
      await Promise.all(ports.map((_, index) => at(index).remove({ force: true, v: true })));
      await network.stop();
    },
  };
}
