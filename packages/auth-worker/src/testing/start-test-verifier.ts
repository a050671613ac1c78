import { randomBytes } from 'node:crypto';
import { Asks } from '@countersign/cluster';
import type { Database } from '@countersign/database';
import { encodeState, type UserState } from '@countersign/verification';
import { pino } from 'pino';
import { Circuit } from '../circuit.ts';
import { DatabaseGate } from '../database-gate.ts';
import { WorkerEvents } from '../events.ts';
import { WorkerMetrics } from '../metrics.ts';
import type { VerifierOptions } from '../verifier-options.ts';
import { Verifier } from '../verifier.ts';
import type { useTestStates } from './use-test-states.ts';

type TestStates = ReturnType<typeof useTestStates>;

/** All keys of a verifier. */
export function makeTestKeys(): VerifierOptions['keys'] {
  const key = () => ({ keyId: '00000000', key: randomBytes(32) });
  return {
    seed: key(),
    'wrong-code': key(),
    'attempt-id': key(),
    challenge: key(),
    pin: key(),
    'spare-code': key(),
  };
}

/** A node's line to the others; it answers with what it knows of any user. */
export function startTestAsks(
  test: TestStates,
  node: string,
  known: () => UserState | null = () => null,
): Asks {
  const plain = { seal: (bytes: Uint8Array) => bytes, open: (bytes: Uint8Array) => bytes };
  const asks = new Asks({
    links: [node === 'node-2' ? test.otherLink() : test.link()],
    node,
    sealer: plain,
    answer: async () => {
      const state = known();
      return { isGranted: true, state: state && Buffer.from(encodeState(state)).toString() };
    },
    onSettled: async () => undefined,
  });
  test.atEnd(() => asks[Symbol.asyncDispose]());
  return asks;
}

/** It gives no statement up because something stands still for seconds. */
export function patientGate(db: Database): DatabaseGate {
  return new DatabaseGate(() => db.sql`select 1`, 15_000);
}

/** Of node-1, as patient as what it asks; it sends no texts, changes no PINs and asks no directories unless it is told how. */
export function makeTestVerifier(
  test: TestStates,
  options: Pick<VerifierOptions, 'keys' | 'asks'> & Partial<VerifierOptions>,
): Verifier {
  const db = test.db();
  const log = pino({ level: 'silent' });
  const gate = patientGate(db);
  return new Verifier({
    node: 'node-1',
    db,
    gate,
    states: test.states(),
    quorumWaitMs: 15_000,
    circuit: new Circuit({ db, gate, events: new WorkerEvents(db, 'node-1'), log }),
    incarnation: { number: 0, id: 'one' },
    sendText: null,
    changePin: null,
    elsewhere: null,
    firstFactor: null,
    metrics: new WorkerMetrics({ node: 'node-1', worker: '0' }, async () => {
      throw new Error('nobody looks');
    }),
    log,
    ...options,
  });
}
