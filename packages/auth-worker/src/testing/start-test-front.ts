import { randomUUID } from 'node:crypto';
import { ParkedEntries } from '@countersign/cluster';
import { sealRadiusSecret } from '@countersign/operations';
import type { RadiusClientDocument } from '@countersign/verification';
import { pino } from 'pino';
import { DatabaseGate } from '../database-gate.ts';
import { WorkerEvents } from '../events.ts';
import { WorkerMetrics } from '../metrics.ts';
import { RadiusFront, type RadiusFrontOptions } from '../radius/radius-front.ts';
import type { Verifier } from '../verifier.ts';
import type { useTestStates } from './use-test-states.ts';

type TestStates = ReturnType<typeof useTestStates>;

/** A RADIUS client whose requests come from that address, with what operators get without saying more. */
export function testRadiusClient(
  address: string,
  {
    seedKey,
    secret,
    ...fields
  }: {
    seedKey: RadiusFrontOptions['keys']['seed'];
    secret: string;
  } & Partial<RadiusClientDocument>,
): RadiusClientDocument {
  const at = new Date().toISOString();
  const place = { id: randomUUID(), addresses: [address] };
  return {
    ...place,
    name: `client ${address}`,
    application: 'vpn',
    enabled: true,
    sealedSecret: sealRadiusSecret(seedKey, place, secret),
    messageAuthenticator: 'require',
    firstFactor: { kind: 'directory', directories: null },
    canChallenge: true,
    codeLength: 6,
    commaCode: true,
    appendedCode: false,
    callingStation: 'text',
    isBalancer: false,
    waitSeconds: 30,
    replies: [],
    createdAt: at,
    updatedAt: at,
    ...fields,
  };
}

/** A worker's front door on a free port of loopback. */
export function startTestFront(
  test: TestStates,
  options: { node: string; verifier: Verifier; keys: RadiusFrontOptions['keys'] },
): Promise<RadiusFront> {
  const { node, verifier, keys } = options;
  const db = test.db();
  return RadiusFront.start({
    listen: { hosts: ['127.0.0.1'], authenticationPort: 0, accountingPort: 0 },
    db,
    gate: new DatabaseGate(() => db.sql`select 1`),
    keys,
    verify: (attempt) => verifier.verify(attempt),
    awaitAnswer: (...args) => verifier.awaitAnswer(...args),
    refuse: (attempt, reason) => verifier.refuse(attempt, reason),
    parkedEntries: () => new ParkedEntries(test.link(), 1),
    isReady: async () => true,
    events: new WorkerEvents(db, node),
    metrics: new WorkerMetrics({ node, worker: '0' }, async () => {
      throw new Error('nobody looks');
    }),
    log: pino({ level: 'silent' }),
  });
}
