import { closeCircuit, readCircuit } from '@countersign/database';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { Circuit } from './circuit.ts';
import { DatabaseGate } from './database-gate.ts';
import { WorkerEvents } from './events.ts';
import { useTestStates } from './testing/use-test-states.ts';

const test = useTestStates();

describe('the circuit', () => {
  it('opens at the silence for three users in a row, and takes three again after it was closed', async () => {
    const db = test.db();
    const circuit = new Circuit({
      db,
      gate: new DatabaseGate(() => db.sql`select 1`),
      events: new WorkerEvents(db, 'node-1'),
      log: pino({ level: 'silent' }),
    });
    const isOpen = async () => (await readCircuit(db)).open;
    for (const user of ['a', 'b', 'b', 'a']) await circuit.noteSilence(user, 'test');
    circuit.noteAnswer();
    for (const user of ['b', 'c']) await circuit.noteSilence(user, 'test');
    expect(await isOpen()).toBe(false);
    await circuit.noteSilence('d', 'test');
    expect(await isOpen()).toBe(true);

    await closeCircuit(db);
    await circuit.noteSilence('e', 'test');
    await circuit.noteSilence('f', 'test');
    expect(await isOpen()).toBe(false);
    await circuit.noteSilence('g', 'test');
    expect(await isOpen()).toBe(true);
  });
});
