import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listDirectoryUsers, readDirectorySync } from '@countersign/database';
import { createOutbox } from '@countersign/delivery';
import { Directory, directoryDefaults } from '@countersign/directory';
import { sealDirectoryPassword } from '@countersign/operations';
import {
  SYNC_ITEM_DEFAULTS,
  type DirectoryDocument,
  type SyncItem,
  type UserDocument,
} from '@countersign/verification';
import type { DirectoryReader } from '../directory/directory-reader.ts';
import { SyncEngine } from '../directory/sync-engine.ts';
import { AgentEvents } from '../events.ts';
import { startTestMaster } from './start-test-master.ts';
import { silent, type useTestLog } from './use-test-log.ts';

type Master = Awaited<ReturnType<typeof startTestMaster>>;

/** What a test says of a real server. */
type About = Pick<DirectoryDocument, 'type' | 'servers' | 'baseDn'> &
  Partial<DirectoryDocument> & { reader: { name: string; password: string } };

/** Of everybody in a scope, with what is usual. */
export function exampleItem(
  name: string,
  scope: SyncItem['scope'],
  more: Partial<SyncItem> = {},
): SyncItem {
  return {
    ...SYNC_ITEM_DEFAULTS,
    id: randomUUID(),
    name,
    scope,
    method: 'text',
    phones: [...SYNC_ITEM_DEFAULTS.phones],
    ...more,
  };
}

/** The synchronisation of a directory on a master of its own, or one that is there; its clock can be put forward. */
export async function startTestSync(
  test: ReturnType<typeof useTestLog>,
  { reader, ...about }: About,
  master?: Master,
) {
  const on = master ?? (await startTestMaster(test));
  const { seed } = on.keys;
  const at = new Date().toISOString();
  const base = {
    ...directoryDefaults(about.type),
    id: randomUUID(),
    name: 'example',
    domains: [`${about.name ?? 'example'}.test`],
    defaultCountry: 'NL',
    sync: { enabled: true, intervalMinutes: 1, changes: 'auto' as const, fullHours: 24 },
    items: [exampleItem('all', { kind: 'domain' })],
    createdAt: at,
    updatedAt: at,
    ...about,
  };
  const account = { name: reader.name };
  const sealedPassword = sealDirectoryPassword(seed, { ...base, account }, reader.password);
  const directory: DirectoryDocument = { ...base, account: { ...account, sealedPassword } };
  const folder = mkdtempSync(join(tmpdir(), 'countersign-sync-'));
  test.atEnd(async () => rmSync(folder, { recursive: true, force: true }));
  const outbox = createOutbox(join(folder, 'outbox'));
  const clock = { ms: Date.now() };
  const around = { open: (reading: Directory): DirectoryReader => reading };
  const newEngine = () =>
    new SyncEngine({
      db: on.db,
      seedKey: seed,
      baseRevision: 0,
      mastership: on.mastership,
      refuseChanges: () => null,
      open: (config) => around.open(new Directory(config)),
      texts: { policy: { clusterAddresses: [], allowedHosts: [] }, outbox: outbox.texts },
      events: new AgentEvents(on.db, 'node-1', () => undefined),
      log: silent,
      now: () => clock.ms,
    });
  let engine = newEngine();
  const term = new AbortController();
  engine.beginTerm(term.signal);
  const write = async (document: DirectoryDocument) => {
    await on.mastership.write({ kind: 'directory', id: document.id, document });
  };
  await write(directory);

  /** One run to its end; how many changes stand in the log more than before. */
  async function run(options: { full?: boolean; dryRun?: boolean } = {}): Promise<number> {
    const before = await on.readLogEnd();
    clock.ms += 60_000;
    await engine.ask(directory, { full: false, dryRun: false, ...options });
    await engine.untilIdle(directory.id);
    return (await on.readLogEnd()) - before;
  }
  const users = async () => {
    const all: UserDocument[] = [];
    for (;;) {
      const page = await listDirectoryUsers(on.db, directory.id, {
        afterId: all.at(-1)?.id,
        limit: 1000,
      });
      all.push(...page);
      if (page.length < 1000) return all;
    }
  };
  return {
    ...on,
    directory,
    outbox,
    clock,
    /** What a test puts between the synchronisation and the real directory. */
    around,
    term,
    write,
    run,
    users,
    user: async (username: string) =>
      (await users()).find((one) => one.username === username) ?? null,
    sync: async () => (await readDirectorySync(on.db, directory.id))!,
    engine: () => engine,
    /** As another node does it that becomes master. */
    async restart() {
      engine = newEngine();
      engine.beginTerm(new AbortController().signal);
    },
  };
}
