import { setTimeout as wait } from 'node:timers/promises';
import { surveyLogServers, type Hello, type LogSignIn, type Sealer } from '@countersign/cluster';

import { ownLogServer, type NodeConfig } from './config.ts';
import { firstLayout, type NotedLayout } from './layout-file.ts';

// A log server greets some seconds before the agent beside it answers.
const ANSWER_WAIT_MS = 1_500;
const PAUSE_MS = 200;

/**
 * Where a node without a store of its own begins. A cluster that knows this node's name has lost its store: a log
 * server that forgot what it agreed to must not vote again, so the node follows the others until they make a new
 * log with it. Where nobody knows it, it is one of the first.
 */
export async function chooseLayout(options: {
  config: NodeConfig;
  signIn: LogSignIn;
  sealer: Sealer;
}): Promise<NotedLayout> {
  const { config, signIn, sealer } = options;
  const first = {
    layout: firstLayout(config),
    runsLogServer: ownLogServer(config) !== undefined,
    leftTags: [],
  };
  const servers = config.logServers.filter(({ name }) => name !== config.name);
  if (servers.length === 0) return first;
  const giveUpAt = performance.now() + ANSWER_WAIT_MS;
  for (;;) {
    const surveys = await surveyLogServers({ servers, signIn, name: config.name, sealer });
    const hellos = surveys.flatMap((survey) => survey.hellos);
    const chosen = layoutAmong(hellos, first, config.name);
    if (chosen) return chosen;
    const isSomebodyThere = surveys.some(({ tag }) => tag !== null) && hellos.length === 0;
    if (!isSomebodyThere || performance.now() > giveUpAt) return first;
    await wait(PAUSE_MS);
  }
}

/** What these greetings make of a node without a store; null where nobody among them has any data. */
export function layoutAmong(
  hellos: readonly Hello[],
  first: NotedLayout,
  node: string,
): NotedLayout | null {
  const [best] = hellos
    .filter((hello) => hello.place !== null)
    .toSorted((a, b) => (b.place?.incarnation.number ?? 0) - (a.place?.incarnation.number ?? 0));
  if (!best) return null;
  const isExpected =
    best.layout.tag === first.layout.tag &&
    best.layout.servers.some(({ name }) => name === node) &&
    !best.knownNodes.includes(node);
  return isExpected ? first : { layout: best.layout, runsLogServer: false, leftTags: [] };
}
