import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  isInHistoryOf,
  isOnline,
  isOperators,
  UserStates,
  type Hello,
  type Incarnation,
  type LogLayout,
  type Membership,
  type NatsLink,
} from '@countersign/cluster';
import type { DisasterReport, RejoinReport } from '@countersign/api';
import {
  findSeal,
  holdCircuitOpen,
  listApiKeyNames,
  listBlockedUsers,
  readApplied,
  type Applied,
} from '@countersign/database';
import { sealerOf } from '@countersign/operations';
import type { AgentShared } from './agent-life.ts';
import { drainLog } from './drain-log.ts';
import { surveyPeers } from './foreign-logs.ts';
import { HOLD_MS } from './move-log.ts';
import { nextLayout } from './plan-move.ts';
import { wishToRejoin } from './rejoin-wish.ts';
import type { Replica } from './replica.ts';
import { listChangesSince, saveChanges } from './save-changes.ts';

export class DisasterError extends Error {
  override name = 'DisasterError';
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const MAX_LISTED = 1000;
const PROBE_MS = 1000;
const PROBE_PAUSE_MS = 300;
/** Raft takes 4-8.5 s. */
const ELECTION_MS = 10_000;

type DisasterOptions = {
  shared: Pick<AgentShared, 'config' | 'keys' | 'db' | 'events' | 'log'>;
  layout: LogLayout;
  link: NatsLink;
  incarnation: Incarnation;
  replica: Replica;
  membership: Membership;
  isWitness(name: string): boolean;
  /** From then on this node applies nothing, so it acknowledges nothing either. */
  stopApplying(): Promise<void>;
  /** Another life in the same log: this one has stopped for nothing. */
  beginAgain(): void;
};

/**
 * What an operator does exactly once: goes on from this node alone when the log's majority is gone for good, or gives
 * up what this node has and the cluster does not. Both show first what they would do; the token of that is what the
 * second call has to bring.
 */
export class Disaster {
  readonly #options: DisasterOptions;
  #isStandingStill = false;

  constructor(options: DisasterOptions) {
    this.#options = options;
  }

  async describePromotion(): Promise<DisasterReport> {
    const { shared, layout, membership } = this.#options;
    const { config, db } = shared;
    const applied = await this.#readOwn();
    const survey = await this.#findAnswering(applied);
    const heard = membership.nodes().filter(({ node }) => node !== config.node);
    const servers = layout.servers.map(({ name }) => name);
    const blocked = await listBlockedUsers(db, MAX_LISTED);
    return {
      node: config.node,
      incarnation: applied.incarnation.number,
      revision: applied.revision,
      epoch: applied.epoch,
      appliedAt: applied.appliedAt.toISOString(),
      logServers: servers,
      answering: survey.answering,
      lastHeard: heard.map((seen) => ({
        node: seen.node,
        at: seen.seenAtWall,
        revision: seen.revision,
        online: isOnline(seen),
      })),
      refused: this.#whyNot(survey, servers) ?? (await this.#whyLogLives(survey, servers)),
      review: { blockedUsers: blocked, apiKeys: await listApiKeyNames(db, MAX_LISTED) },
      token: tokenOf('promote', applied, config.node),
    };
  }

  /**
   * The layout in which this node goes on alone, and why its log server may have held more than was taken over first.
   * @throws DisasterError where a majority answers, or something changed since it was described
   */
  async promote(token: string): Promise<{ layout: LogLayout; missed: string | null }> {
    const { shared, link, replica, incarnation } = this.#options;
    const { config, db, events, log } = shared;
    const report = await this.describePromotion();
    if (report.refused) throw new DisasterError('majority_answers', report.refused);
    if (report.token !== token) {
      throw new DisasterError('changed', 'something changed meanwhile: look at it again');
    }
    await holdCircuitOpen(db, 'promote --force', HOLD_MS);
    const { missed } = await this.#atStandstill(() =>
      drainLog({ db, link, incarnation, replica, log }),
    );
    const disasterAt = new Date().toISOString();
    const { revision } = replica.applied;
    events.forced({ revision, incarnation: report.incarnation, missed });
    const layout = nextLayout({ servers: [config.logServer!], by: config.node, disasterAt });
    return { layout, missed };
  }

  async describeRejoin(): Promise<RejoinReport> {
    const { shared } = this.#options;
    const applied = await this.#readOwn();
    const { hello, from } = await this.#findOther(applied);
    const sealer = sealerOf(shared.keys.document);
    const { changes } = await listChangesSince(shared.db, sealer, from);
    const there = hello.place!;
    return {
      node: shared.config.node,
      incarnation: applied.incarnation.number,
      revision: applied.revision,
      to: {
        node: hello.node,
        incarnation: there.incarnation.number,
        revision: there.revision,
        master: hello.master,
      },
      drops: changes,
      token: tokenOf(`rejoin ${there.incarnation.id}`, applied, shared.config.node),
    };
  }

  /** Saves what is given up, then tells the layout to live in. Throws {@link DisasterError}. */
  async rejoin(token: string): Promise<{ layout: LogLayout; file: string }> {
    const { shared } = this.#options;
    const { config, db, keys, events } = shared;
    const applied = await this.#readOwn();
    const { hello, from } = await this.#findOther(applied);
    const there = hello.place!;
    if (tokenOf(`rejoin ${there.incarnation.id}`, applied, config.node) !== token) {
      throw new DisasterError('changed', 'something changed meanwhile: look at it again');
    }
    const { file, changes } = await this.#atStandstill(async () => {
      const saved = await saveChanges({
        db,
        sealer: sealerOf(keys.document),
        dataDirectory: config.dataDirectory,
        incarnationNumber: applied.incarnation.number,
        fromRevision: from,
      });
      await holdCircuitOpen(db, 'rejoin', HOLD_MS);
      wishToRejoin(config.dataDirectory, there.incarnation.id);
      return saved;
    });
    events.rejoined({ to: hello.node, dropped: changes.length, file });
    return { layout: hello.layout, file };
  }

  /** The last thing in this life: stops before `work`, and where that fails another life goes on as before. */
  async #atStandstill<T>(work: () => Promise<T>): Promise<T> {
    const { stopApplying, beginAgain, shared } = this.#options;
    if (this.#isStandingStill) throw new DisasterError('in_progress', 'it is being done already');
    this.#isStandingStill = true;
    try {
      await stopApplying();
      return await work();
    } catch (cause) {
      shared.log.warn({ error: String(cause) }, 'not done, going on as before');
      beginAgain();
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new DisasterError('not_done', `${why}: the node goes on as before, try again`, {
        cause,
      });
    }
  }

  async #readOwn(): Promise<Applied> {
    const applied = await readApplied(this.#options.shared.db);
    if (!applied || applied.revision === 0) {
      throw new DisasterError('empty', 'this node has no data: there is nothing to go on from');
    }
    return applied;
  }

  async #findAnswering(applied: Applied): Promise<Answering> {
    const { shared, layout } = this.#options;
    const surveys = await surveyPeers(shared, layout);
    const hellos = surveys.flatMap((survey) => survey.hellos);
    const names = hellos
      .filter((hello) => hello.layout.tag === layout.tag)
      .filter((hello) => hello.place?.incarnation.id === applied.incarnation.id)
      .map(({ node }) => node);
    const elsewhere = hellos.find(
      (hello) => hello.layout.tag !== layout.tag && hello.place !== null && hello.isLogWritable,
    );
    return {
      answering: [...new Set(names)].toSorted(),
      listening: surveys.filter(({ tag }) => tag === layout.tag).map(({ server }) => server.name),
      elsewhere: elsewhere ?? null,
    };
  }

  #whyNot({ answering, elsewhere }: Answering, servers: string[]): string | null {
    const { config } = this.#options.shared;
    if (elsewhere) {
      return (
        `${elsewhere.node} goes on in incarnation ${elsewhere.place!.incarnation.number}, whose log takes writes: ` +
        `${config.node} follows it by itself, or after "countersign rejoin"`
      );
    }
    if (isOperators(this.#options.layout)) {
      return (
        'the log is in a NATS of your own (nats.urls): start its servers again; where their stores are gone for ' +
        'good, make a backup here and restore it into a new cluster (docs/operating.md)'
      );
    }
    if (!config.logServer) {
      return `${config.node} is configured without a log server of its own: force a node that has one`;
    }
    const there = servers.filter((name) => name === config.node || answering.includes(name));
    if (there.length * 2 <= servers.length) return null;
    return (
      `${there.length} of ${servers.length} log servers' nodes answer (${there.join(', ')}), a majority: ` +
      `use countersign promote ${config.node} without --force`
    );
  }

  /** Agents may hang, and their log servers go on: an agent that wakes up has a log that never ended. */
  async #whyLogLives(
    { answering, listening }: Answering,
    servers: string[],
  ): Promise<string | null> {
    const { shared, link, incarnation, replica } = this.#options;
    const { node } = shared.config;
    const states = new UserStates(link, incarnation.number);
    const isOneOf = (name: string) => name === node || listening.includes(name);
    // They may be about to elect who leads.
    const mayElect = servers.filter(isOneOf).length * 2 > servers.length;
    const giveUpAt = performance.now() + (mayElect ? ELECTION_MS : 0);
    while (!(await states.probeLog(PROBE_MS))) {
      if (performance.now() >= giveUpAt) return null;
      await sleep(PROBE_PAUSE_MS);
    }
    if (replica.mode !== 'live') {
      return (
        `the log takes writes, in incarnation ${incarnation.number}: ` +
        `${node} follows it by itself, or after "countersign rejoin"`
      );
    }
    // A witness has no agent.
    const hanging = servers.filter(
      (name) => name !== node && !answering.includes(name) && !this.#options.isWitness(name),
    );
    const what =
      hanging.length === 0
        ? 'the log takes writes: '
        : `the log takes writes, only the agents of ${hanging.join(', ')} do not answer: restart those nodes, and `;
    return what + `use countersign promote ${node} without --force`;
  }

  /** Whom this node would follow, and the first revision that is its own alone. */
  async #findOther(applied: Applied): Promise<{ hello: Hello; from: number }> {
    const { shared, layout, incarnation, membership } = this.#options;
    const surveys = await surveyPeers(shared, layout);
    const others = surveys
      .flatMap(({ hellos }) => hellos)
      .filter(({ place }) => place !== null && place.incarnation.id !== applied.incarnation.id)
      .toSorted(
        (a, b) =>
          Number(b.isLogWritable) - Number(a.isLogWritable) ||
          b.place!.incarnation.number - a.place!.incarnation.number ||
          b.place!.revision - a.place!.revision,
      );
    let hello = others[0];
    if (!hello && incarnation.id !== applied.incarnation.id) {
      const place = { incarnation, revision: incarnation.baseRevision, epoch: 0 };
      const master = membership.master()?.node ?? null;
      const node = master ?? incarnation.by ?? 'the cluster';
      hello = {
        node,
        layout,
        place,
        master,
        highestNumber: incarnation.number,
        isLogWritable: true,
        storeMarks: {},
        knownNodes: [],
      };
    }
    if (!hello) {
      throw new DisasterError('nothing_to_join', 'no node that lives in another log answers');
    }
    return { hello, from: await this.#firstOwn(applied, hello.place!.incarnation) };
  }

  async #firstOwn(applied: Applied, theirs: Incarnation): Promise<number> {
    const left = theirs.ancestors.find(({ id }) => id === applied.incarnation.id);
    if (left) return left.revision + 1;
    const sealedAt = (await findSeal(this.#options.shared.db)) ?? 0;
    const isMineNewer = isInHistoryOf(applied.incarnation, {
      incarnationId: theirs.id,
      revision: 0,
    });
    return isMineNewer || sealedAt > 0 ? sealedAt + 1 : 0;
  }
}

type Answering = {
  /** Nodes of this log, with data, that answer now. */
  answering: string[];
  /** Nodes whose log server for this log is there. */
  listening: string[];
  /** One that lives in another log that takes writes. */
  elsewhere: Hello | null;
};

function tokenOf(what: string, applied: Applied, node: string): string {
  return createHash('sha256')
    .update(`${what}|${node}|${applied.incarnation.id}`)
    .digest('hex')
    .slice(0, 16);
}
