import { join } from 'node:path';

import type { NodeConfigInput } from './config.ts';
import { NodeError } from './node-error.ts';

/** One node of a demo: where it lives and how it is configured. */
export interface DemoNode {
  name: string;
  folder: string;
  configFile: string;
  runFile: string;
  url: string;
  /** Where it takes sign-ins over RADIUS. */
  radius: { host: string; port: number };
  config: NodeConfigInput & { dataDirectory: string };
}

// Two log servers are no safer than one, and more than three only slow the log down.
const logServersOf = (nodes: number) => (nodes < 3 ? 1 : 3);
const highestPortOffset = 200;

/**
 * The nodes of a demo, all on 127.0.0.1: HTTP from the base port on, nats-server 100 and its routes
 * 200 above it, RADIUS over UDP 120 (sign-ins) and 130 (accounting). Throws NodeError for a number of nodes, workers or a port that is out of range.
 */
export function layOutDemo(options: {
  directory: string;
  nodes: number;
  basePort: number;
  workers: number;
}): DemoNode[] {
  const { directory, nodes, basePort, workers } = options;
  assertRange('the number of nodes', nodes, 1, 5);
  assertRange('the number of workers', workers, 1, 32);
  assertRange('the base port', basePort, 1_024, 65_535 - highestPortOffset - nodes);

  const host = '127.0.0.1';
  const names = Array.from({ length: nodes }, (_, index) => `node-${index + 1}`);
  const logServers = names.slice(0, logServersOf(nodes)).map((name, index) => ({
    name,
    host,
    clientPort: basePort + 101 + index,
    routePort: basePort + highestPortOffset + 1 + index,
  }));
  return names.map((name, index) => {
    const folder = join(directory, name);
    const port = basePort + index;
    const url = `http://${host}:${port}`;
    const authenticationPort = basePort + 121 + index;
    const radius = { host, authenticationPort, accountingPort: basePort + 131 + index };
    return {
      name,
      folder,
      configFile: join(folder, 'node.yaml'),
      runFile: join(folder, 'run.json'),
      url,
      radius: { host, port: authenticationPort },
      config: {
        name,
        dataDirectory: folder,
        url,
        http: { host, port },
        radius,
        workers,
        logServers,
      },
    };
  });
}

function assertRange(what: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new NodeError(`${what} must be a whole number from ${least} to ${most}`);
}
