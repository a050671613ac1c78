import { randomInt } from 'node:crypto';
import { assertPortFree } from '@countersign/engines';

// Below the ports the kernel gives to outgoing connections, above the well-known ones.
const lowestPort = 10_000;
const highestPort = 32_000;

const taken = new Set<number>();

/**
 * `count` different loopback ports that nobody uses now and this process has not been given
 * before. They are picked at random, so that tests running side by side rarely want the same.
 */
export async function takeFreePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let attempt = 0; ports.length < count; attempt += 1) {
    if (attempt > 200 + count * 10) throw new Error(`no ${count} free loopback ports`);
    const port = randomInt(lowestPort, highestPort);
    if (taken.has(port) || !(await isFree(port))) continue;
    taken.add(port);
    ports.push(port);
  }
  return ports;
}

async function isFree(port: number): Promise<boolean> {
  return await assertPortFree({ host: '127.0.0.1', port, what: 'a test' }).then(
    () => true,
    () => false,
  );
}
