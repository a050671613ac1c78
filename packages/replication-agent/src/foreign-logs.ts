import { setTimeout as sleep } from 'node:timers/promises';
import {
  isOperators,
  surveyLogServers,
  type Hello,
  type LogLayout,
  type NatsLink,
  type Survey,
} from '@countersign/cluster';
import { readApplied } from '@countersign/database';
import { sealerOf } from '@countersign/operations';
import type { AgentShared } from './agent-life.ts';
import { describeConflict, judgeForeign, type OwnPlace } from './judge-foreign.ts';

const FIRST_LOOK_MS = 1500;
const LOOK_WHEN_ALIVE_MS = 10_000;
const LOOK_WHEN_DEAD_MS = 2000;
/** A log that took a write within this is alive. */
const ALIVE_MS = 10_000;

/** Looks for nodes that live in another log, at the addresses of all log servers this node knows. */
export class ForeignLogs {
  readonly #options: {
    shared: AgentShared;
    layout: LogLayout;
    link: NatsLink;
  };
  #aliveAt = -Infinity;
  #conflicts: string[] = [];

  constructor(options: { shared: AgentShared; layout: LogLayout; link: NatsLink }) {
    this.#options = options;
  }

  get problems(): string[] {
    return this.#conflicts;
  }

  noteOwnLogAlive(): void {
    this.#aliveAt = performance.now();
  }

  /** Calls `onFollow` with another layout where this node can live without losing anything. */
  async run(signal: AbortSignal, onFollow: (layout: LogLayout) => void): Promise<void> {
    await sleep(FIRST_LOOK_MS, undefined, { signal }).catch(() => undefined);
    while (!signal.aborted) {
      try {
        const next = await this.#look();
        if (next && !signal.aborted) {
          const { log } = this.#options.shared;
          log.info({ from: this.#options.layout.tag, to: next.tag }, 'following another log');
          onFollow(next);
          return;
        }
      } catch (error) {
        this.#options.shared.log.warn({ error: String(error) }, 'looking for other logs failed');
      }
      const pauseMs = this.#isAlive ? LOOK_WHEN_ALIVE_MS : LOOK_WHEN_DEAD_MS;
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Everybody else who answers at the log servers. */
  async survey(): Promise<Survey[]> {
    const { shared, layout } = this.#options;
    return surveyPeers(shared, layout);
  }

  get #isAlive(): boolean {
    return performance.now() - this.#aliveAt < ALIVE_MS;
  }

  async #look(): Promise<LogLayout | null> {
    const { shared, layout } = this.#options;
    // There is one log there, and no other is ever made.
    if (isOperators(layout)) return null;
    const surveys = await this.survey();
    const greeted = surveys
      .filter(({ tag }) => tag !== null && tag !== layout.tag)
      .flatMap((survey) => survey.hellos);
    // Each of a log's servers passes on the greetings of all its nodes.
    const hellos = [...new Map(greeted.map((hello) => [hello.node, hello])).values()];
    for (const hello of hellos) {
      const numbers = [shared.known.highestNumber, hello.highestNumber];
      shared.known.highestNumber = Math.max(...numbers);
    }
    const applied = await readApplied(shared.db);
    const own: OwnPlace = {
      layout,
      place: applied && applied.revision > 0 ? applied : null,
      isLogAlive: this.#isAlive,
    };
    const verdicts = hellos.map((hello) => judgeForeign(own, hello));
    this.#conflicts = verdicts.flatMap((verdict) =>
      verdict.kind === 'conflict' ? [describeConflict(own, verdict.hello)] : [],
    );
    const [best] = verdicts
      .flatMap((verdict) => (verdict.kind === 'follow' ? [verdict.hello] : []))
      .toSorted((a, b) => numberOf(b) - numberOf(a));
    return best?.layout ?? null;
  }
}

/** Everybody who answers at the log servers a node was configured with or lives with, but itself. */
export async function surveyPeers(
  shared: Pick<AgentShared, 'config' | 'keys'>,
  layout: LogLayout,
): Promise<Survey[]> {
  const { config, keys } = shared;
  const configured = new Set(config.logServers.map(({ name }) => name));
  const servers = [
    ...config.logServers,
    ...layout.servers.filter(({ name }) => !configured.has(name)),
  ].filter(({ name }) => name !== config.node);
  const surveys = await surveyLogServers({
    servers,
    signIn: config.nats,
    name: `${config.node} agent`,
    sealer: sealerOf(keys.command),
  });
  return surveys.map((survey) => ({
    ...survey,
    hellos: survey.hellos.filter(({ node }) => node !== config.node),
  }));
}

function numberOf(hello: Hello): number {
  return hello.place?.incarnation.number ?? 0;
}
