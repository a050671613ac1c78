/**
 * What clients and fault injection write down while a test runs, one JSON object a line. All times are wall-clock
 * milliseconds counted on the test's one monotonic clock: `performance.timeOrigin + performance.now()`.
 */
export type HistoryRecord = Attempt | Write | Fault;

/** One request to verify a code, as its client saw it. */
export type Attempt = {
  kind: 'attempt';
  client: number;
  node: string;
  username: string;
  /** `hotp 7`, `totp 59711520`: what the code was made of; `not issued` for a code no token of the test showed. */
  item: string;
  idempotencyKey: string | null;
  from: number;
  to: number;
  /** `refused`: an HTTP error; `unknown`: no answer came; `abandoned`: the client hung up on purpose. */
  verdict: 'approved' | 'denied' | 'refused' | 'unknown' | 'abandoned';
  id: string | null;
  /** Reason of a denial, status and code of a refusal, or what broke. */
  reason: string | null;
  degraded: boolean;
};

/** One request to change something of a user, as its client saw it. */
export type Write = {
  kind: 'write';
  client: number;
  node: string;
  username: string;
  /** `other`: changes something of the user that the content does not show. */
  action: 'add' | 'set' | 'remove' | 'rename' | 'other';
  /** The fields asked for; null clears one. */
  content: Record<string, unknown>;
  idempotencyKey: string | null;
  from: number;
  to: number;
  outcome: 'acknowledged' | 'refused' | 'unknown';
  revision: number | null;
  /** Status and code of what was not acknowledged. */
  code: string | null;
};

/** Something that was done to the cluster, until everything was seen to be whole again. */
export type Fault = {
  kind: 'fault';
  what: string;
  nodes: string[];
  from: number;
  /** null: not over yet. */
  to: number | null;
  /** Nodes that may fail or be late to verify. */
  cannotVerify: string[];
  /** Groups of nodes that reach each other, all that are not named in one more; null if all do. */
  sides: string[][] | null;
  /** Whether a majority of the log's servers worked together. */
  hasQuorum: boolean;
};

/** Everything of one node's PostgreSQL that the checker looks at, from one snapshot. */
export type ReplicaDump = {
  node: string;
  incarnation: string;
  baseRevision: number;
  revision: number;
  /** Below it the replica is a mixture that says nothing. */
  horizon: number;
  digest: string;
  /** Anew from the documents of the same snapshot. */
  recomputedDigest: string;
  documents: DumpedDocument[];
  epochs: { epoch: number; firstRevision: number }[];
  users: DumpedUser[];
  events: DumpedEvent[];
};

export type DumpedDocument = {
  kind: string;
  id: string;
  revision: number;
  epoch: number;
  removed: boolean;
  /** Of the bytes as they are stored now. */
  hash: string;
};

export type DumpedUser = {
  username: string;
  revision: number;
  content: Record<string, unknown>;
  authenticators: string[];
  /** Authenticator id → last accepted step or counter, as this node knows it. */
  accepted: Record<string, number>;
};

export type DumpedEvent = {
  verification: string;
  node: string;
  result: string;
  degraded: boolean;
  /** Nodes that lived and did not say whether they had approved the same. */
  unanswered: string[];
};
