import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  beginNextTables,
  dropNextTables,
  finishRestore,
  migrate,
  openDatabase,
  type Database,
} from '@countersign/database';
import { encodeKeyRing, makeGeneration } from '@countersign/keys';
import { readBackupStatus, writeBackupStatus } from '@countersign/operations';
import { createTestDatabase, waitFor, type TestDatabase } from '@countersign/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { BackupPlan } from '../config.ts';
import { AgentEvents } from '../events.ts';
import { makeIncarnation, silent } from '../testing/use-test-log.ts';
import { Backups } from './backups.ts';
import { backupName, keepBackups } from './keep-backups.ts';

const RECIPIENT = 'age1ll3vs43tjvcyretpgyjj6e8d3rwwpkeqcfte5c3fy4nnj3c9qcaqeumtl4';
const HOUR_MS = 3_600_000;

let connection: TestDatabase;
let db: Database;
let dataDirectory: string;
let directory: string;
const stopping: AbortController[] = [];
const statusFile = () => join(dataDirectory, 'backups.json');

beforeAll(async () => {
  connection = await createTestDatabase();
  db = openDatabase({ ...connection, max: 3, applicationName: 'test' });
  await migrate(db);
  await finishRestore(db, {
    incarnation: makeIncarnation(),
    revision: 41,
    epoch: 1,
    digest: '00'.repeat(32),
    settingsRevision: 0,
  });
});
afterAll(async () => {
  await db.close();
  await connection.drop();
});
beforeEach(() => {
  dataDirectory = mkdtempSync(join(tmpdir(), 'countersign-backups-'));
  directory = join(dataDirectory, 'to');
  mkdirSync(directory);
});
afterEach(async () => {
  for (const one of stopping.splice(0)) one.abort();
  await db.sql`truncate outbox`;
  rmSync(dataDirectory, { recursive: true, force: true });
});

function makeBackups(plan: Partial<BackupPlan> | null): Backups {
  const { drop: _, ...database } = connection;
  const events = new AgentEvents(db, 'node-1', (error) => {
    throw error;
  });
  const generation = makeGeneration(new Date().toISOString());
  const ring = { active: generation.id, generations: [generation] };
  const standard = { directory, everyHours: 24, keep: 2, recipient: RECIPIENT, withEvents: false };
  const backup = plan && { ...standard, ...plan };
  const about = { node: 'node-1', version: '1.0.0', database, identity: null };
  const config = { ...about, backup, backupStatusFile: statusFile() };
  return new Backups({ config, askKeys: async () => encodeKeyRing(ring), events, log: silent });
}

function run(backups: Backups): { stop(): Promise<void> } {
  const controller = new AbortController();
  stopping.push(controller);
  const running = backups.run(controller.signal);
  return {
    async stop() {
      controller.abort();
      await running;
    },
  };
}

const status = () => readBackupStatus(statusFile());
const seen = async () => {
  const rows = await db.sql<{ event: { type: string; details: Record<string, unknown> } }[]>`
    select event from outbox order by at`;
  return rows.map(({ event }) => event);
};

/** What a node of that name once made: its label is all that retention reads. */
function leaveOld(
  name: string,
  node: string,
  createdAt: string,
  clusterId: string | null = null,
): void {
  const id = '0190c0de-0000-7000-8000-00000000c0de';
  const label = { format: 1, id, createdAt, node, version: '1', clusterId, revision: 7 };
  const begin = `countersign-backup ${JSON.stringify(label)}\n`;
  writeFileSync(
    join(directory, name),
    `${begin}age-encryption.org/v1\n-> X25519 x\ny\n--- z\nrest`,
  );
}

describe('a planned backup', () => {
  it('is made when one is due, told in an event and remembered over a restart', async () => {
    const running = run(makeBackups({}));
    await waitFor('a backup', () => status().last !== null, { timeoutMs: 15_000 });
    await running.stop();
    const { last, problem } = status();
    expect(last).toMatchObject({ revision: 41 });
    expect(problem).toBeNull();
    const [name] = readdirSync(directory);
    expect(last!.file).toBe(join(directory, name!));
    expect(name).toMatch(/^countersign-node-1-\d{8}T\d{6}Z\.backup$/);
    await waitFor('the event', async () => (await seen()).length === 1, { timeoutMs: 5000 });
    expect(await seen()).toMatchObject([
      { type: 'node.backed_up', details: { to: last!.file, revision: 41 } },
    ]);
    const restarted = makeBackups({});
    expect(restarted.problems()).toEqual([]);
    await run(restarted).stop();
    expect(readdirSync(directory)).toHaveLength(1);
  });

  it('waits for its day, and is called for where it is late', () => {
    const file = statusFile();
    const last = { file: 'x', revision: 1, sizeBytes: 1, sha256: '' };
    const at = (hours: number) => new Date(Date.now() - hours * HOUR_MS).toISOString();
    writeBackupStatus(file, { last: { ...last, at: at(24.5) }, problem: null, byHandAt: null });
    expect(makeBackups({}).problems()).toEqual([]);
    writeBackupStatus(file, { last: { ...last, at: at(26) }, problem: null, byHandAt: null });
    expect(makeBackups({}).problems()).toEqual([expect.stringContaining('one is due every 24 h')]);
    expect(makeBackups(null).problems()).toEqual([]);
  });

  it('says why it was not made, once in an event and as long as it is so in status', async () => {
    rmSync(directory, { recursive: true });
    const backups = makeBackups({});
    const running = run(backups);
    await waitFor('the problem', () => status().problem !== null, { timeoutMs: 15_000 });
    await running.stop();
    await run(backups).stop();
    expect(backups.problems()).toEqual([expect.stringContaining(`${directory} is not there`)]);
    await waitFor('the event', async () => (await seen()).length > 0, { timeoutMs: 5000 });
    expect((await seen()).map(({ type }) => type)).toEqual(['node.backup_failed']);
  });

  it('is not made while the node is filled, and leaves nothing behind', async () => {
    const { incarnation } = (
      await db.sql<{ incarnation: never }[]>`select incarnation from applied`
    )[0]!;
    await beginNextTables(db, incarnation);
    try {
      const backups = makeBackups({});
      await run(backups).stop();
      expect(status()).toMatchObject({ last: null, problem: null });
      expect(readdirSync(directory)).toEqual([]);
    } finally {
      await dropNextTables(db);
    }
  });
});

describe('a backup for somebody at the machine', () => {
  const take = async (lines: AsyncIterable<string>) => {
    const all: string[] = [];
    for await (const line of lines) all.push(line);
    return void (taken = all.join(''));
  };
  let taken = '';

  it('is told in an event with its reason', async () => {
    const { signal } = new AbortController();
    const how = { withEvents: false, reason: 'before the upgrade', signal };
    await makeBackups(null).backUpByHand(how, take);
    expect(taken).toContain('{"end":');
    await waitFor('the event', async () => (await seen()).length === 1, { timeoutMs: 5000 });
    expect(await seen()).toMatchObject([
      { type: 'node.backed_up', details: { revision: 41, reason: 'before the upgrade' } },
    ]);
    expect(status().byHandAt).not.toBeNull();
  });

  it('is refused while another is made, and given up when the node moves on', async () => {
    const backups = makeBackups(null);
    const controller = new AbortController();
    const how = { withEvents: false, reason: null, signal: controller.signal };
    const refused: string[] = [];
    const first = backups.backUpByHand(how, async (lines) => {
      for await (const _ of lines) {
        await backups.backUpByHand(how, take).catch((error: Error) => refused.push(error.message));
        controller.abort();
      }
    });
    await expect(first).rejects.toMatchObject({ code: 'not_now' });
    expect(refused).toEqual([expect.stringContaining('another backup')]);
    await waitFor('the event', async () => (await seen()).length === 1, { timeoutMs: 5000 });
    expect((await seen())[0]!.type).toBe('node.backup_failed');
    // It can be had again.
    const { signal } = new AbortController();
    await backups.backUpByHand({ ...how, signal }, take);
  });
});

describe('retention', () => {
  it("removes this node's own backups beyond those to keep, and nothing else", async () => {
    const days = ['01', '02', '03', '04', '05'];
    for (const day of days) {
      const at = `2026-03-${day}T12:00:00.000Z`;
      leaveOld(backupName('node-1', new Date(at)), 'node-1', at);
    }
    const [oldest, ...newer] = readdirSync(directory).toSorted();
    const kept = [
      'countersign-node-1-20260101T120000Z.backup',
      'countersign-node-2-20260101T120000Z.backup',
      'my-own.backup',
      'countersign-node-1-20260101T120000Z.backup.old',
      'countersign-node-1-20260102T120000Z.backup',
    ];
    // Named like one of this node's, and none; another's; somebody's; of the cluster that this one came out of.
    writeFileSync(join(directory, kept[0]!), 'a letter');
    leaveOld(kept[1]!, 'node-2', '2026-01-01T12:00:00.000Z');
    leaveOld(kept[2]!, 'node-1', '2026-01-01T12:00:00.000Z');
    leaveOld(kept[3]!, 'node-1', '2026-01-01T12:00:00.000Z');
    leaveOld(kept[4]!, 'node-1', '2026-01-02T12:00:00.000Z', 'another cluster');
    const partial = `${oldest}.0123456789ab.partial`;
    writeFileSync(join(directory, partial), 'cut off');
    const newest = newer.at(-1)!;
    const about = { directory, node: 'node-1', clusterId: null, newest };
    const removed = await keepBackups({ ...about, keep: 2 });
    expect(removed.toSorted()).toEqual([oldest, ...newer.slice(0, 2)].toSorted());
    const left = [...kept, ...newer.slice(2)];
    expect(readdirSync(directory).toSorted()).toEqual(left.toSorted());
    // A clock that was wrong: the one just read back stays, whatever the others say of their age.
    const future = '2027-01-01T12:00:00.000Z';
    for (const hour of ['01', '02']) {
      leaveOld(`countersign-node-1-20270101T${hour}0000Z.backup`, 'node-1', future);
    }
    await keepBackups({ ...about, keep: 1 });
    expect(readdirSync(directory)).toContain(newest);
    expect(readFileSync(join(directory, newest), 'utf8')).toContain('countersign-backup');
  });
});
