import type { VerificationAttempt } from '@countersign/api';
import type { Asks, UserStates } from '@countersign/cluster';
import type { Database } from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import type { Settings, UserDocument } from '@countersign/verification';
import type { Logger } from 'pino';
import type { Circuit } from './circuit.ts';
import type { DatabaseGate } from './database-gate.ts';
import type { FirstFactor } from './first-factor.ts';
import type { WorkerMetrics } from './metrics.ts';
import type { ChallengeBinding } from './sealed-challenge.ts';
import type { MethodsElsewhere } from './waits.ts';

export type VerifierOptions = {
  node: string;
  db: Database;
  gate: DatabaseGate;
  states: UserStates;
  asks: Asks;
  circuit: Circuit;
  keys: Record<
    'seed' | 'wrong-code' | 'attempt-id' | 'challenge' | 'pin' | 'spare-code',
    PurposeKey
  >;
  incarnation: ChallengeBinding['incarnation'];
  /** Waiting for the quorum ends after this, whatever happens; missing: 700 ms. */
  quorumWaitMs?: number;
  /** Sends a code; null: this node cannot. It has a deadline of its own. */
  sendText: SendText | null;
  /** Whether there is anything to send one through; missing: wherever one can be sent. */
  canSendTexts?: (settings: Settings) => boolean;
  /** Changes the PIN through the master; null: it may not be changed here. */
  changePin: ChangePin | null;
  /** Asks people on their phones and the like; null: there is no such method here. */
  elsewhere: MethodsElsewhere | null;
  /** Asks directories for passwords; null: none can be asked here. */
  firstFactor: FirstFactor | null;
  metrics: WorkerMetrics;
  log: Logger;
};

export type TextToSend = {
  user: UserDocument;
  number: string;
  code: string;
  application: string | null;
  settings: Settings;
  /** How long the code is good. */
  minutes: number;
};
/** `details` go into the event: provider, time, cost; never the code. */
export type SendText = (
  text: TextToSend,
) => Promise<{ sent: boolean; details: Record<string, unknown> }>;
/** Null: it was changed; else why not. */
export type ChangePin = (change: {
  caller: VerificationAttempt['caller'];
  username: string;
  pin: string;
  newPin: string;
}) => Promise<string | null>;
