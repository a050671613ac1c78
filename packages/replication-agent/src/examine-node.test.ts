import { CHANGE_FORMAT, Membership } from '@countersign/cluster';
import { initApplied } from '@countersign/database';
import { sealerOf } from '@countersign/operations';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentEvents } from './events.ts';
import { examineNode } from './examine-node.ts';
import { TablesWatch } from './tables-watch.ts';
import { heartbeatOf } from './testing/heartbeat-of.ts';
import { makeIncarnation, silent, useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const stop = new AbortController();
let setting: Parameters<typeof examineNode>[0];
afterAll(() => stop.abort());

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
  const membership = new Membership(test.connect());
  setting = { node: 'node-1', db, membership, dataDirectory: import.meta.dirname, tables };
}, 60_000);

const checkOf = async (name: string, options = setting) =>
  (await examineNode(options)).checks.find((check) => check.name === name);

describe('looking at a node', () => {
  it('finds a node well that has nothing wrong', async () => {
    const { finished, checks } = await examineNode(setting);
    expect(finished).toBe(true);
    expect(checks.map(({ name }) => name)).toEqual(['tables', 'outbox', 'clock', 'disk']);
    expect(checks.filter(({ name, ok }) => !ok && name !== 'disk')).toEqual([]);
  });

  it('compares its clock with the median of those who are heard', async () => {
    const { membership } = setting;
    for (const [node, aheadMs] of [
      ['node-1', 8000],
      ['node-2', 0],
      ['node-3', 0],
    ] as const) {
      membership.send(heartbeatOf(node, { format: CHANGE_FORMAT, wallMs: Date.now() + aheadMs }));
    }
    const clock = await checkOf('clock');
    expect(clock).toMatchObject({ ok: false });
    expect(clock?.detail).toMatch(/^(79|80)\d\d ms ahead of the median of 3 nodes$/);
    membership.send(heartbeatOf('node-1', { format: CHANGE_FORMAT, wallMs: Date.now() - 100 }));
    expect(await checkOf('clock')).toMatchObject({ ok: true });
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
      detail: '10001 events wait for the log',
    });
  });

  it('takes what cannot be looked at for a finding', async () => {
    const dataDirectory = '/nowhere';
    expect(await checkOf('disk', { ...setting, dataDirectory })).toMatchObject({ ok: false });
    await setting.db.sql`truncate applied`;
    expect(await checkOf('tables')).toMatchObject({
      ok: false,
      detail: expect.stringContaining('could not be examined'),
    });
  });
});
