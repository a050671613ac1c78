import {
  applyChanges,
  initApplied,
  listEvents,
  storeEvents,
  takeFinalOutbox,
  type Database,
} from '@countersign/database';
import { newEvent } from '@countersign/operations';
import { changeSetting, defaultSettings } from '@countersign/verification';
import { waitFor } from '@countersign/testing';
import { describe, expect, it } from 'vitest';
import { AgentEvents } from './events.ts';
import { retireEvents } from './retire-events.ts';
import { makeIncarnation, silent, useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const NOW_MS = Date.now();
const daysAgo = (days: number) => new Date(NOW_MS - days * 86_400_000).toISOString();

async function keepDays(db: Database, days: number): Promise<void> {
  await initApplied(db, makeIncarnation());
  const document = changeSetting(defaultSettings, { name: 'events.retentionDays', value: days });
  await applyChanges(db, [
    {
      revision: 1,
      epoch: 1,
      kind: 'settings',
      id: document.id,
      at: daysAgo(0),
      removed: false,
      bytes: Buffer.from('sealed'),
      document,
      commands: [],
    },
  ]);
}

describe('retention of events', () => {
  it('drops what is older than the setting, far days too, and leaves an event of it', async () => {
    const db = await test.openDatabase();
    const events = new AgentEvents(db, 'node-1', (error) => {
      throw error;
    });
    const ages = [0, 29, 30, 31, 40, 5000];
    const stored = ages.map((age) => newEvent({ type: 'test', node: 'node-1', at: daysAgo(age) }));
    await storeEvents(db, stored, 1);
    const ids = async () => (await listEvents(db, { type: 'test', limit: 10 })).map(({ id }) => id);

    expect(await retireEvents({ db, events, log: silent }, NOW_MS)).toBe(true);
    expect(await ids()).toHaveLength(5);

    await keepDays(db, 30);
    expect(await retireEvents({ db, events, log: silent }, NOW_MS)).toBe(true);
    expect(await ids()).toEqual(stored.slice(0, 3).map(({ id }) => id));

    const told = await waitFor(
      'both events',
      async () => {
        const rows = await takeFinalOutbox(db, 10);
        return rows.length === 2 ? rows.map(({ event }) => event) : null;
      },
      { timeoutMs: 5000 },
    );
    const before = daysAgo(30).slice(0, 10);
    expect(told).toContainEqual(
      expect.objectContaining({
        type: 'events.dropped',
        node: 'node-1',
        details: { before, days: 2, farEvents: 0 },
      }),
    );

    expect(await retireEvents({ db, events, log: silent }, NOW_MS)).toBe(true);
    expect(await takeFinalOutbox(db, 10)).toHaveLength(2);
  });
});
