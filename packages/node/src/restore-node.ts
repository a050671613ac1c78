import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { restoreDatabase, type BackupSummary, type OpenWith } from '@countersign/backup';
import {
  claimDatabase,
  emptyDatabase,
  isDatabaseUnused,
  migrate,
  openDatabase,
  type Database,
} from '@countersign/database';
import { makePrivateFolder, startPostgres } from '@countersign/engines';
import { writeKeyRing, type KeyRing } from '@countersign/keys';
import { syncPath } from '@countersign/private-files';

import { ownLogServer, readNodeConfig, type LogServer, type NodeConfig } from './config.ts';
import { draftFounder } from './found-cluster.ts';
import { readDatabaseAddress } from './database-url.ts';
import { layoutFileIn, writeLayoutFile, type NotedLayout } from './layout-file.ts';
import { readLogAccess } from './log-access.ts';
import { lockFolder } from './lock-folder.ts';
import { makeDataFolder } from './make-data-folder.ts';
import { NodeError } from './node-error.ts';
import { checkOperatorsNats, operatorsLayout } from './operators-nats.ts';
import { finishIdentity } from './prepare-membership.ts';
import { connectionsFor } from './start-engines.ts';
import { beginRestore, endRestore, noteDatabase, undoRestore } from './unfinished-restore.ts';

export type RestoredNode = {
  node: string;
  summary: BackupSummary;
  /** An earlier restore had left something, which was removed. */
  left: boolean;
  /** Of the cluster it founded; null: an open node. */
  clusterId: string | null;
};

/**
 * Makes a node out of a backup, in an empty data directory: the cluster key, PostgreSQL filled, and a set of log servers
 * of this node alone, whose log the node makes out of its PostgreSQL when it starts. Until it is done no node starts
 * there; killed anywhere, it begins anew when it is run again.
 * Throws NodeError, EngineError, KeyError or BackupError, one line each.
 */
export async function restoreNode(options: {
  configFile: string;
  backupFile: string;
  secret: OpenWith;
  /** Names and addresses for the certificate of a secured node; none: it stays open on loopback. */
  hosts: string[];
}): Promise<RestoredNode> {
  const { configFile, backupFile, secret, hosts } = options;
  const config = readNodeConfig(configFile);
  const server = ownLogServer(config);
  if (!server && !config.nats) {
    throw new NodeError(
      `${config.name} has no log server of its own in ${configFile}: restore on a node that has one`,
    );
  }
  makeDataFolder(config.dataDirectory);
  const lock = await lockFolder({ folder: config.dataDirectory, kind: 'supervisor' });
  await using engine = new RestoreEngine(config);
  try {
    const restoredAt = new Date();
    let left = false;
    let clusterId: string | null = null;
    let hasBegun = false;
    const summary = await restoreDatabase({
      path: backupFile,
      secret,
      restoredAt,
      async prepare(keys) {
        if (hosts.length === 0) await refuseUsedNats(config, keys);
        const begun = beginRestore(config, { configFile, backup: backupFile });
        hasBegun = true;
        left = begun.left;
        await writeKeyRing(config.clusterKeyFile, keys, null);
        if (hosts.length > 0) {
          clusterId = await draftFounder({ ...config, hosts, ring: keys });
        }
        return engine.start(begun.leftInDatabase);
      },
    }).catch(async (error: unknown) => {
      await engine.undo();
      if (hasBegun) undoRestore(config);
      throw error;
    });
    // What it was given is on the disk when it has stopped.
    await engine.stop();
    const filled = { by: config.name, disasterAt: restoredAt.toISOString() };
    const noted = server
      ? await noteNewServer(config, server, filled)
      : operatorsLayout(config, filled);
    writeLayoutFile(layoutFileIn(config.dataDirectory), noted);
    if (clusterId !== null) finishIdentity(config.dataDirectory, 'founding');
    endRestore(config.dataDirectory);
    syncPath(config.dataDirectory);
    return { node: config.name, summary, left, clusterId };
  } finally {
    lock.release();
  }
}

/** An open cluster's streams bear the mark of its key: those of its earlier life would be taken for its log. */
async function refuseUsedNats(config: NodeConfig, clusterKey: KeyRing): Promise<void> {
  const { name: nodeName, dataDirectory, nats } = config;
  if (!nats) return;
  const access = readLogAccess({ dataDirectory, nodeName, clusterKey, nats });
  if (await checkOperatorsNats(config, access, { isNew: true })) return;
  throw new NodeError('no server of nats.urls answers: whether it is empty has to be known first');
}

async function noteNewServer(
  { dataDirectory }: NodeConfig,
  server: LogServer,
  filled: { by: string; disasterAt: string },
): Promise<NotedLayout> {
  const tag = randomBytes(4).toString('hex');
  await makePrivateFolder(join(dataDirectory, 'nats', tag));
  return { layout: { tag, servers: [server], ...filled }, runsLogServer: true, leftTags: [] };
}

/** The node's PostgreSQL: its own, as its supervisor will start it, or the operator's. */
class RestoreEngine implements AsyncDisposable {
  readonly #config: NodeConfig;
  #running: { db: Database; stop(): Promise<void> } | null = null;
  /** Whether what is in the operator's database is this restore's. */
  #isOwnContent = false;

  constructor(config: NodeConfig) {
    this.#config = config;
  }

  /** Throws NodeError where the operator's database holds anything that no restore has left there. */
  async start(leftInDatabase: string | undefined): Promise<Database> {
    const { dataDirectory, database, name, workers } = this.#config;
    mkdirSync(join(dataDirectory, 'logs'), { recursive: true, mode: 0o700 });
    const { address, stop } = database
      ? { address: readDatabaseAddress(database), stop: async () => undefined }
      : await this.#startOwn();
    const db = openDatabase({
      ...address,
      max: 6,
      applicationName: 'countersign restore',
      statementTimeoutMs: 60_000,
      // Nothing of it counts before the last step, which waits for the disk.
      asyncCommit: true,
    });
    this.#running = { db, stop };
    if (database && leftInDatabase === database.url) await emptyDatabase(db);
    if (database) {
      // Another restore would found another cluster: the node's first start puts its cluster's name there.
      const connections = connectionsFor(workers);
      await claimDatabase(db, { node: name, clusterId: null, connections });
    }
    await migrate(db);
    if (!(await isDatabaseUnused(db))) {
      throw new NodeError('the database that database.url names is in use: give it an empty one');
    }
    if (database) {
      noteDatabase(dataDirectory, database.url);
      this.#isOwnContent = true;
    }
    return db;
  }

  async #startOwn() {
    const { dataDirectory } = this.#config;
    const engine = await startPostgres({
      dataDirectory: join(dataDirectory, 'postgres'),
      logFile: join(dataDirectory, 'logs', 'postgres.log'),
    });
    return { address: engine.connection, stop: () => engine.stop() };
  }

  /** Leaves the operator's database as it was found. */
  async undo(): Promise<void> {
    if (this.#running && this.#isOwnContent) await emptyDatabase(this.#running.db);
    await this.stop();
  }

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    await running?.db.close();
    await running?.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
