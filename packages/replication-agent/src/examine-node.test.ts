import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHANGE_FORMAT, Membership } from '@countersign/cluster';
import { initApplied } from '@countersign/database';
import { sealerOf, writeBackupStatus, type BackupStatus } from '@countersign/operations';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentEvents } from './events.ts';
import { examineNode } from './examine-node.ts';
import { TablesWatch } from './tables-watch.ts';
import { heartbeatOf } from './testing/heartbeat-of.ts';
import { makeIncarnation, silent, useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const stop = new AbortController();
let setting: Parameters<typeof examineNode>[0];
const folder = mkdtempSync(join(tmpdir(), 'countersign-examine-'));
afterAll(() => {
  stop.abort();
  rmSync(folder, { recursive: true });
});

beforeAll(async () => {
  const db = await test.openDatabase();
  const incarnation = makeIncarnation();
  await initApplied(db, incarnation);
  const tables = new TablesWatch({
    db,
    sealer: sealerOf(test.makeKeys().document),
    incarnationId: () => incarnation.id,
    isCaughtUp: () => true,
    events: new AgentEvents(db, 'node-1', () => undefined),
    log: silent,
    signal: stop.signal,
  });
  // Hears nothing but what a test says.
  const link = test.connect();
  await link.close();
  const membership = new Membership(link);
  const config = { backup: null, backupStatusFile: join(folder, 'backups.json') };
  setting = { node: 'node-1', db, membership, tables, config, machine: async () => [] };
}, 60_000);

const checkOf = async (name: string, options = setting) =>
  (await examineNode(options)).checks.find((check) => check.name === name);

describe('looking at a node', () => {
  it('finds a node well that has nothing wrong', async () => {
    const { finished, checks } = await examineNode(setting);
    expect(finished).toBe(true);
    const names = new Set(checks.map(({ name }) => name));
    expect([...names]).toEqual(['tables', 'database', 'outbox', 'clock', 'backup']);
    expect(checks.filter(({ name, ok }) => !ok && name !== 'database')).toEqual([]);
  });

  it('finds a PostgreSQL that does not write safely, as that of tests', async () => {
    expect(await checkOf('database')).toMatchObject({
      ok: false,
      severity: 'critical',
      detail: 'PostgreSQL runs with fsync off: a power cut may damage its tables for good',
      fix: 'psql: alter system set fsync = on; select pg_reload_conf(); then countersign doctor',
    });
  });

  it('compares its clock with the median of those who are heard', async () => {
    const { membership } = setting;
    const say = (aheadMs: number) => {
      for (const node of ['node-1', 'node-2', 'node-3']) {
        const wallMs = Date.now() + (node === 'node-1' ? aheadMs : 0);
        membership.send(heartbeatOf(node, { format: CHANGE_FORMAT, wallMs }));
      }
    };
    const clockAt = async (aheadMs: number) => {
      say(aheadMs);
      const saying = setInterval(() => say(aheadMs), 200);
      return checkOf('clock').finally(() => clearInterval(saying));
    };
    const clock = await clockAt(8000);
    expect(clock).toMatchObject({ ok: false, fix: expect.stringContaining('chronyc makestep') });
    expect(clock?.detail).toMatch(/^(79|80)\d\d ms ahead of the median of 3 nodes$/);
    expect(await clockAt(-100)).toMatchObject({ ok: true });
  });

  describe('and its backups', () => {
    const directory = '/mnt/the safe';
    const plan = { directory, everyHours: 24, keep: 14, recipient: 'age1', withEvents: false };
    const nothing = { last: null, problem: null, byHandAt: null };
    const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString();
    const madeAt = (at: string) => ({ at, file: 'a', revision: 1, sizeBytes: 1, sha256: '' });
    const judged = (status: BackupStatus, backup: typeof plan | null = plan) => {
      writeBackupStatus(setting.config.backupStatusFile, status);
      return checkOf('backup', { ...setting, config: { ...setting.config, backup } });
    };

    it('says how to plan some where none are planned, which is not wrong', async () => {
      const byHandAt = hoursAgo(3);
      expect(await judged({ ...nothing, byHandAt }, null)).toMatchObject({
        ok: true,
        detail: `this node plans no backups, the last by hand is of ${byHandAt}`,
        fix: expect.stringContaining('countersign backup FILE'),
      });
    });

    it('finds the last one older than twice its interval, or the last try failed', async () => {
      expect(await judged({ ...nothing, last: madeAt(hoursAgo(47.9)) })).toMatchObject({
        ok: true,
        detail: expect.stringContaining('(47.9 h ago), one is due every 24 h into /mnt/the safe'),
      });
      expect(await judged({ ...nothing, last: madeAt(hoursAgo(48.1)) })).toMatchObject({
        ok: false,
        severity: 'warning',
        fix: expect.stringContaining(`df -h '/mnt/the safe'`),
      });
      const problem = { at: hoursAgo(1), text: 'there is no room left' };
      expect(await judged({ ...nothing, last: madeAt(hoursAgo(25)), problem })).toMatchObject({
        ok: false,
        detail: expect.stringContaining(': there is no room left'),
      });
      expect(await judged(nothing)).toMatchObject({
        ok: false,
        detail: expect.stringContaining('no backup was made yet'),
      });
    });
  });

  it('finds events that the log has not taken for long', async () => {
    const fill = (count: number) => setting.db.sql`
      insert into outbox (id, at, final, event)
      select gen_random_uuid(), now(), true, '{}' from generate_series(1, ${count}::int)`;
    await fill(10_000);
    expect(await checkOf('outbox')).toMatchObject({ ok: true });
    await fill(1);
    expect(await checkOf('outbox')).toEqual({
      name: 'outbox',
      ok: false,
      severity: 'warning',
      detail: '10001 events wait for the log',
      fix: 'countersign status: they go by themselves once the log has its quorum and room',
    });
  });

  it('takes what cannot be looked at for a finding', async () => {
    await setting.db.sql.begin(async (sql) => {
      await sql`lock table outbox in access exclusive mode`;
      expect(await checkOf('outbox')).toMatchObject({
        ok: false,
        detail: 'could not be checked: no answer in 3 s',
      });
    });
    await setting.db.sql`truncate applied`;
    expect(await checkOf('tables')).toMatchObject({
      ok: false,
      detail: expect.stringContaining('could not be examined'),
    });
  });
});
