import { randomBytes } from 'node:crypto';
import { join, relative } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { quote } from '@countersign/doctor/finding';

import {
  chooseDemoDirectory,
  defaultDemoDirectory,
  isDefaultDemoDirectory,
} from './choose-demo-directory.ts';
import { acceptDemoInvitation, makeDemoAdministrator } from './demo-administrator.ts';
import {
  ensureDemoRadiusClient,
  ensureDemoUser,
  isReady,
  readCluster,
  type DemoApi,
  type DemoCluster,
} from './demo-api.ts';
import { readDemoNodes, removeDemoFile, writeDemoFile, type DemoRadius } from './demo-file.ts';
import { layOutDemo, type DemoNode } from './demo-layout.ts';
import { writeDemoState, type DemoState } from './demo-state.ts';
import { startDemoSupervisor, type DemoSupervisor } from './demo-supervisor.ts';
import { describeDemo } from './describe-demo.ts';
import { lockFolder } from './lock-folder.ts';
import { NodeError } from './node-error.ts';
import { prepareDemoFolder } from './prepare-demo-folder.ts';
import { listenForStop } from './stop-signals.ts';

export interface DemoOptions {
  directory?: string;
  /** 1-5 */
  nodes?: number;
  basePort?: number;
  /** Auth workers of each node, 1-32. */
  workers?: number;
  /** Throw an earlier demo in the folder away. */
  fresh?: boolean;
}

interface Demo {
  directory: string;
  isDefaultDirectory: boolean;
  nodes: DemoNode[];
  state: DemoState;
  supervisors: DemoSupervisor[];
  stopping: AbortController;
  startedAt: number;
}

interface ReadyDemo {
  apiKey: string;
  otpauth: string;
  admin: DemoState['administrator'];
  cluster: DemoCluster;
  radius: DemoRadius[];
}

const readyDeadlineMs = 120_000;
const pollMs = 150;
const watchMs = 500;
// A heartbeat tells where a node was up to a second ago.
const CLOSE_BEHIND = 10;
const say = (line: string) => console.log(line);

/**
 * Runs a whole cluster on this machine's loopback until Ctrl-C or SIGTERM, then stops it in order; a
 * second signal kills it. `demo.json` in the folder is there while the demo is ready.
 * Throws NodeError, EngineError or KeyError, one line each, when the demo cannot start.
 */
export async function runDemo(options: DemoOptions = {}): Promise<void> {
  const startedAt = performance.now();
  const wished = options.directory ?? defaultDemoDirectory;
  const { nodes: count = 3, basePort = 8080, workers = 1, fresh = false } = options;
  // What cannot be is refused before any folder is made.
  layOutDemo({ directory: wished, nodes: count, basePort, workers });
  const directory = await chooseDemoDirectory(wished, say);
  const lock = await lockFolder({ folder: directory, kind: 'demo' });
  try {
    const nodes = layOutDemo({ directory, nodes: count, basePort, workers });
    const state = prepareDemoFolder({ directory, nodes, fresh });
    await superviseDemo({
      directory,
      isDefaultDirectory: isDefaultDemoDirectory(directory),
      nodes,
      state,
      supervisors: [],
      stopping: new AbortController(),
      startedAt,
    });
  } finally {
    lock.release();
  }
}

async function superviseDemo(demo: Demo): Promise<void> {
  const { directory, nodes, supervisors, stopping } = demo;
  const stopListening = listenForStop({
    onStop: () => {
      say('\nStopping …');
      stopping.abort();
    },
    onKill: () => {
      for (const supervisor of supervisors) supervisor.kill();
      removeDemoFile(directory);
      process.exit(1);
    },
  });
  try {
    say(`Starting ${nodes.length === 1 ? '1 node' : `${nodes.length} nodes`} in ${directory} …`);
    removeDemoFile(directory);
    for (const node of nodes) {
      const supervisor = await startDemoSupervisor(node, {
        firstApiKey: (apiKey) => remember(demo, { apiKey }),
        firstInvitation: (invitation) => remember(demo, { invitation }),
      });
      supervisors.push(supervisor);
    }
    const ready = await Promise.race([untilReady(demo), untilOneFails(demo)]);
    if (ready) await serveDemo(demo, ready);
  } finally {
    stopping.abort();
    removeDemoFile(directory);
    await Promise.all(supervisors.map((supervisor) => supervisor.stop()));
    stopListening();
  }
  say('Everything has stopped.');
}

function remember(demo: Demo, changed: Partial<DemoState>): void {
  demo.state = { ...demo.state, ...changed };
  writeDemoState(demo.directory, demo.state);
}

/** Resolves when every node can verify and there is a master and a user to try it with. */
async function untilReady(demo: Demo): Promise<ReadyDemo | undefined> {
  const { nodes, stopping } = demo;
  const [first] = nodes as [DemoNode];
  const giveUpAt = performance.now() + readyDeadlineMs;
  while (!stopping.signal.aborted) {
    const { apiKey } = demo.state;
    const late = await findLateNodes(nodes);
    if (late.length === 0 && apiKey !== null) {
      const api = { url: first.url, apiKey };
      let cluster = await readCluster(api);
      if (cluster?.master) {
        const authenticator = await ensureDemoUser(api, demo.state.authenticator);
        remember(demo, { authenticator });
        const radiusSecret = demo.state.radiusSecret ?? randomBytes(16).toString('hex');
        // Kept before it is given away: what the cluster has sealed nobody can read back.
        remember(demo, { radiusSecret });
        await ensureDemoRadiusClient(api, radiusSecret);
        await ensureAdministrator(demo, api);
        cluster = await readCluster(api);
        if (cluster?.master && cluster.nodes.every(followsClosely)) {
          const radius = nodes.map((node) => ({ ...node.radius, secret: radiusSecret }));
          const { otpauth } = authenticator;
          return { apiKey, cluster, otpauth, admin: demo.state.administrator, radius };
        }
      }
    }
    if (performance.now() > giveUpAt) {
      throw new NodeError(
        explainLateness(demo, late.length > 0 ? late.join(', ') : 'a master that all nodes follow'),
      );
    }
    await wait(pollMs, undefined, { signal: stopping.signal }).catch(() => {});
  }
  return undefined;
}

/** Accepts the first administrator's invitation, if that has come and was not accepted yet. */
async function ensureAdministrator(demo: Demo, api: DemoApi): Promise<void> {
  const { invitation } = demo.state;
  if (invitation === null) return;
  const administrator = demo.state.administrator ?? makeDemoAdministrator();
  // Kept before they are given away, as above.
  remember(demo, { administrator });
  await acceptDemoInvitation(api, invitation, administrator);
  remember(demo, { invitation: null });
}

/** What is shown and tried first must be there on every node. */
function followsClosely({ online, behind }: DemoCluster['nodes'][number]): boolean {
  return online && behind <= CLOSE_BEHIND;
}

async function findLateNodes(nodes: readonly DemoNode[]): Promise<string[]> {
  const readiness = await Promise.all(nodes.map(({ url }) => isReady(url)));
  return nodes.filter((_, index) => !readiness[index]).map(({ name }) => name);
}

function explainLateness({ supervisors }: Demo, waitingFor: string): string {
  const problems = supervisors
    .filter((supervisor) => supervisor.lastProblem())
    .map((supervisor) => `; ${supervisor.node.name}: ${supervisor.lastProblem()}`);
  return (
    `the demo was not ready in ${readyDeadlineMs / 1000} s, it waited for ` +
    `${waitingFor}${problems.join('')}`
  );
}

/** Rejects with the one line that tells why a node does not start. */
async function untilOneFails({ supervisors, stopping }: Demo): Promise<undefined> {
  const [name, how] = await Promise.race(
    supervisors.map(async ({ node, failed }) => [node.name, await failed] as const),
  );
  if (!stopping.signal.aborted) throw new NodeError(`${name} did not start: ${how}`);
  return undefined;
}

/** Shows the demo, then keeps `demo.json` true while processes come and go, until stopped. */
async function serveDemo(demo: Demo, ready: ReadyDemo): Promise<void> {
  const { directory, stopping } = demo;
  let nodes = readDemoNodes(demo.nodes);
  writeDemoFile(directory, { ...ready, nodes });
  const durationMs = performance.now() - demo.startedAt;
  const { isDefaultDirectory } = demo;
  const shownDirectory = isDefaultDirectory ? defaultDemoDirectory : shorten(directory);
  const shown = { ...ready, nodes, durationMs, isDefaultDirectory, directory: shownDirectory };
  say(`\n${describeDemo(shown)}\n`);
  for (const supervisor of demo.supervisors) void reportEnd(supervisor, stopping.signal);

  while (!stopping.signal.aborted) {
    await wait(watchMs, undefined, { signal: stopping.signal }).catch(() => {});
    const current = readDemoNodes(demo.nodes);
    if (stopping.signal.aborted || JSON.stringify(current) === JSON.stringify(nodes)) continue;
    writeDemoFile(directory, { ...ready, nodes: current });
    for (const [index, { name, supervisorPid }] of current.entries()) {
      if (supervisorPid === null || supervisorPid === nodes[index]?.supervisorPid) continue;
      say(`${name} was started again (process ${supervisorPid}).`);
    }
    nodes = current;
  }
}

async function reportEnd({ node, ended }: DemoSupervisor, stopping: AbortSignal): Promise<void> {
  const how = await ended;
  if (stopping.aborted) return;
  say(`${node.name} stopped (${how}). Start it again with:`);
  say(`  npx countersign node --config ${quote(shorten(node.configFile))}`);
}

/** A path as it is shortest to type from here. */
function shorten(path: string): string {
  const fromHere = relative('.', path);
  return fromHere && !fromHere.startsWith('..') ? `.${join('/', fromHere)}` : path;
}
