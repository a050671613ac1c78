import { randomBytes, randomUUID } from 'node:crypto';
import type { PurposeKey } from '@countersign/keys';
import { sealRadiusSecret } from '@countersign/operations';
import type { RadiusClientDocument } from '@countersign/verification';
import { pino } from 'pino';
import { WorkerEvents } from '../events.ts';
import { FirstFactor, type DirectoriesToAsk } from '../first-factor.ts';
import { WorkerMetrics } from '../metrics.ts';
import { RadiusFront, type RadiusFrontOptions } from '../radius/radius-front.ts';
import type { TextToSend } from '../verifier-options.ts';
import type { Verifier } from '../verifier.ts';
import type { MethodsElsewhere } from '../waits.ts';
import {
  makeTestKeys,
  makeTestVerifier,
  patientGate,
  startTestAsks,
} from './start-test-verifier.ts';
import { PatientParkedEntries, type useTestStates } from './use-test-states.ts';

export const SHARED = 'shared with a test';

/** Keys of a verifier and of what stands before it. */
export function makeFrontKeys(): ReturnType<typeof makeTestKeys> &
  Record<'parked' | 'command-id', PurposeKey> {
  const key = () => ({ keyId: '00000000', key: randomBytes(32) });
  return { ...makeTestKeys(), parked: key(), 'command-id': key() };
}

/** One at `address`, with the defaults of the product and {@link SHARED}. */
export function radiusClientAt(
  seedKey: PurposeKey,
  address: string,
  fields: Partial<RadiusClientDocument> = {},
): RadiusClientDocument {
  const at = new Date().toISOString();
  const place = { id: randomUUID(), addresses: [address] };
  return {
    ...place,
    name: `client ${address}`,
    application: 'vpn',
    enabled: true,
    sealedSecret: sealRadiusSecret(seedKey, place, SHARED),
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

/** RADIUS of a node's worker with a verifier of its own; `directories` null: none can be asked. */
export async function openTestFront(
  test: ReturnType<typeof useTestStates>,
  {
    node,
    keys,
    directories = null,
    elsewhere = null,
    worker = 0,
    workers = 1,
    isReady = async () => true,
    onText = () => undefined,
    parkedEntries = () => new PatientParkedEntries(test.link(), 1),
    log = pino({ level: 'silent' }),
  }: {
    node: string;
    keys: ReturnType<typeof makeFrontKeys>;
    directories?: DirectoriesToAsk | null;
    elsewhere?: MethodsElsewhere | null;
    worker?: number;
    workers?: number;
    isReady?: () => Promise<boolean>;
    onText?: (text: TextToSend) => void;
  } & Partial<Pick<RadiusFrontOptions, 'parkedEntries' | 'log'>>,
): Promise<{ front: RadiusFront; port: number; verifier: Verifier; metrics: WorkerMetrics }> {
  const db = test.db();
  const metrics = new WorkerMetrics({ node, worker: `${worker}` }, async () => {
    throw new Error('nobody looks');
  });
  const firstFactor = directories && new FirstFactor(directories);
  const verifier = makeTestVerifier(test, {
    node,
    keys,
    asks: startTestAsks(test, node),
    metrics,
    firstFactor,
    elsewhere,
    async sendText(text) {
      onText(text);
      return { sent: true, details: {} };
    },
  });
  const front = await RadiusFront.start({
    node,
    worker,
    workers,
    listen: { hosts: ['127.0.0.1'], authenticationPort: 0, accountingPort: 0 },
    db,
    gate: patientGate(db),
    keys,
    verify: (attempt) => verifier.verify(attempt),
    awaitAnswer: (attempt, asked, options) => verifier.awaitAnswer(attempt, asked, options),
    refuse: (attempt, reason) => verifier.refuse(attempt, reason),
    whoIs: (name) => verifier.whoIs(name),
    parkedEntries,
    isReady,
    events: new WorkerEvents(db, node),
    metrics,
    log,
  });
  test.atEnd(() => front[Symbol.asyncDispose]());
  return { front, port: front.ports[0]!, verifier, metrics };
}
