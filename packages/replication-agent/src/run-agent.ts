import { setTimeout as sleep } from 'node:timers/promises';
import { runsServerOf, type LogLayout } from '@countersign/cluster';
import { noteLogLayout, openDatabase } from '@countersign/database';
import type { CertificateNotice } from '@countersign/tls';
import { renewKeys, takeKeys } from '@countersign/keys';
import type { Logger } from 'pino';
import { AgentLife, type AgentShared } from './agent-life.ts';
import type {
  AgentConfig,
  DiskReport,
  KeyRingMessage,
  KeysMessage,
  LogServerHealth,
  SealedGeneration,
} from './config.ts';
import { eraseEventsForEver } from './erase-events.ts';
import { Backups } from './backup/backups.ts';
import { AgentEvents } from './events.ts';
import { ClusterKeyWrapper } from './members/cluster-key-wrapper.ts';
import type { MemberMessage, WrappedKeyMessage } from './members/supervisor-line.ts';
import { retireEventsForEver } from './retire-events.ts';
import { StoreMarks } from './store-marks.ts';
import { DatabaseWatch } from './watch-database.ts';

export type RunningAgent = { stop(): Promise<void> };

const DATABASE_PAUSE_MS = 300;

/**
 * Starts everything an agent does, and begins again whenever the log moves or is rebuilt: one life for each
 * incarnation. Resolves at once.
 */
export async function runAgent(
  config: AgentConfig,
  options: {
    log: Logger;
    signal: AbortSignal;
    showApiKey(key: string): void;
    showInvitation(code: string): void;
    restartLogServer(): void;
    /** The supervisor starts, moves or stops this node's log server to fit. */
    tellLayout(layout: LogLayout): void;
    tellSupervisor(
      message:
        | { type: 'log-server-health'; health: LogServerHealth }
        | MemberMessage
        | KeyRingMessage,
    ): void;
    onKeys(listener: (message: KeysMessage) => void): void;
    makeGeneration(): Promise<SealedGeneration>;
    onDisks(listener: (disks: DiskReport[]) => void): void;
    onCertificates(listener: (notices: CertificateNotice[]) => void): void;
    onWrappedKey(listener: (answer: WrappedKeyMessage) => void): void;
    /** The supervisor alone has the cluster's keys whole. */
    askKeys(): Promise<string>;
  },
): Promise<RunningAgent> {
  const { log, signal } = options;
  const db = openDatabase({ ...config.database, max: 6, applicationName: 'countersign agent' });
  const lazyDb = openDatabase({
    ...config.database,
    max: 4,
    applicationName: 'countersign agent events',
    asyncCommit: true,
  });
  const databaseWatch = new DatabaseWatch();
  const events = new AgentEvents(lazyDb, config.node, (error) => {
    log.warn({ error: String(error) }, 'an event could not be written');
  });
  let disks: DiskReport[] = [];
  options.onDisks((measured) => (disks = measured));
  let { certificates } = config;
  options.onCertificates((notices) => (certificates = notices));
  const wrapper = new ClusterKeyWrapper((message) => options.tellSupervisor(message));
  options.onWrappedKey((answer) => wrapper.take(answer));
  const keys = takeKeys(config.keys);
  let { keyRing } = config;
  options.onKeys((message) => {
    renewKeys(keys, message.keys);
    keyRing = message.keyRing;
  });
  const shared: AgentShared = {
    config,
    keys,
    keyRing: () => keyRing,
    makeGeneration: options.makeGeneration,
    db,
    lazyDb,
    events,
    databaseWatch,
    log,
    signal,
    showApiKey: options.showApiKey,
    showInvitation: options.showInvitation,
    restartLogServer: options.restartLogServer,
    tellSupervisor: options.tellSupervisor,
    disks: () => disks,
    certificates: () => certificates,
    wrapClusterKey: (about) => wrapper.wrap(about),
    backups: new Backups({ config, askKeys: options.askKeys, events, log }),
    known: {
      highestNumber: 0,
      runsLogServer: config.runsLogServer,
      storeMarks: new StoreMarks(),
      leftTags: [...config.leftLogs],
    },
  };
  const watching = databaseWatch.run(db, signal, () => life?.resign('PostgreSQL is silent'));
  const retiring = Promise.all([
    retireEventsForEver({ db: lazyDb, events, log, signal }),
    eraseEventsForEver({ db: lazyDb, log, signal }),
  ]);
  let life: AgentLife | null = null;
  const living = liveOn();
  events.agentStarted({ version: config.version });

  async function liveOn(): Promise<void> {
    let { layout } = config;
    for (;;) {
      await noteLayout(layout);
      if (signal.aborted) return;
      life = AgentLife.begin(shared, layout);
      const next = await life.ended;
      await life.stop({ handOver: next === null });
      if (next === null) return;
      if (next.tag === layout.tag) continue;
      shared.known.leftTags.push(layout.tag);
      layout = next;
      shared.known.runsLogServer = runsServerOf(layout, config.node, shared.known.leftTags);
      options.tellLayout(next);
    }
  }

  /** The node's workers follow what stands there. */
  async function noteLayout(layout: LogLayout): Promise<void> {
    while (!signal.aborted) {
      try {
        return await noteLogLayout(db, layout);
      } catch (error) {
        log.warn({ error: String(error) }, 'waiting for PostgreSQL');
        await sleep(DATABASE_PAUSE_MS);
      }
    }
  }

  return {
    /** Hands over if this node is master, then lets everything go; bounded by about 8 s. */
    async stop() {
      life?.end(null);
      await living;
      await Promise.race([Promise.all([watching, retiring]), sleep(1500)]);
      await Promise.all([db.close(), lazyDb.close()]);
    },
  };
}
