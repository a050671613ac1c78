import type {
  AdministratorDocument,
  ApiKeyDocument,
  ApiScope,
  ApplicationDocument,
  DenialReason,
  DirectoryDocument,
  DirectorySyncDocument,
  FrontDoor,
  Method,
  NewDirectory,
  PasswordJudged,
  PhoneKind,
  RadiusClientDocument,
  RadiusTargetDocument,
  Right,
  Role,
  Settings,
  Skip,
  StopFact,
  UserDocument,
  UserState,
} from '@countersign/verification';

/** What the routes need from the process that serves them. The auth worker and the agent's local socket each give their own. */
export type ApiPorts = {
  node: string;
  version: string;
  authenticate(credentials: Credentials): Promise<Caller | null>;
  verify?(attempt: VerificationAttempt): Promise<VerificationOutcome>;
  /** How a question stands; changes nothing. */
  pollVerification?(
    poll: VerificationPoll,
  ): Promise<VerificationOutcome | { kind: 'open'; id: string }>;
  runCommand(request: CommandRequest): Promise<CommandReply>;
  readCluster(): Promise<ClusterView>;
  findUser(username: string): Promise<StoredUser | null | 'ambiguous'>;
  /** All that this node holds of somebody, also of who was removed and is kept; null: there is no such one. */
  readPerson(username: string): Promise<StoredPerson | null>;
  listUsers(page: UserPage): Promise<StoredUser[]>;
  listApiKeys(): Promise<StoredApiKey[]>;
  /** Those who were not removed, oldest first. */
  listAdministrators(): Promise<AdministratorDocument[]>;
  /** `applications` by folded name; `revision` is that of the newest change of any of it. */
  readSettings(): Promise<{
    settings: Settings;
    applications: ReadonlyMap<string, ApplicationDocument>;
    directories: readonly DirectoryDocument[];
    radiusClients: readonly RadiusClientDocument[];
    radiusTargets: readonly RadiusTargetDocument[];
    revision: number;
  }>;
  listEvents(filter: EventFilter): Promise<StoredEvent[]>;
  /** What came through the cluster's event stream after the cursor, in that order. */
  eventsAfter(
    filter: EventFilter & { after: EventCursor | 'end' },
  ): Promise<{ events: StoredEvent[]; next: EventCursor }>;
  /** Has the node looked at closely; waits some seconds, then says it is not finished. */
  examineNode(node: string): Promise<NodeExamination>;
  /** Waits at most ~500 ms. */
  checkReady(): Promise<Readiness>;
  isMaster(): boolean;
  metrics(): Promise<{ contentType: string; text: string }>;
  /** Whether this node has heard of a join token of that id. Missing: it cannot tell. */
  knowsJoinToken?(id: string): Promise<boolean>;
  /** What a provider of texts tells about one; rejects while it cannot be kept. */
  takeTextCallback?(callback: TextCallback): Promise<TextCallbackOutcome>;
  /** Missing: nobody signs in here. */
  sessions?: SessionPorts;
  /** Where people come from. Missing: this process reads no directory. */
  directories?: DirectoryPorts;
  /** Missing: this process serves no RADIUS. */
  radiusFront?: RadiusPorts;
  /** Only in a demo: texts and mails that went nowhere else, oldest first. */
  readDemoOutbox?(): Promise<OutboxEntry[]>;
  /** Only on the node's own socket. */
  operator?: OperatorPorts;
};

/** Sessions of administrators. What is typed is judged by the node's agent, which alone can make one. */
export type SessionPorts = {
  signIn(typed: {
    username: string;
    password: string;
    code: string;
    remoteAddress: string;
  }): Promise<SignInOutcome>;
  stepUp(typed: { token: string; code: string; remoteAddress: string }): Promise<SignInOutcome>;
  /** Whom the code of an invitation is for; null: nobody, or not any more. */
  findInvited(code: string): Promise<AdministratorDocument | null>;
};

export type SignInOutcome =
  | {
      kind: 'signed_in';
      token: string;
      username: string;
      roles: Role[];
      expiresAt: string;
      /** Until then the second factor is fresh. */
      freshUntil: string;
    }
  | { kind: 'denied' }
  | { kind: 'not_ready'; detail: string };

/** What is read of directories by the node that was asked. What fails is a ProblemError 502 that says why. */
export type DirectoryPorts = {
  list(): Promise<StoredDirectory[]>;
  /** Of one that is not saved, with the password that came. Waits up to 30 s; 409 while another test runs. */
  test(which: DirectoryDocument | NewDirectory): Promise<DirectoryTestReport>;
  /** Null: right below the base. */
  listContainers(
    directory: DirectoryDocument,
    under: string | null,
  ): Promise<{ containers: NamedObject[]; isMore: boolean }>;
  listGroups(
    directory: DirectoryDocument,
    text: string,
  ): Promise<{ groups: NamedObject[]; isMore: boolean }>;
  /** Who is found, and what each would become. */
  previewPeople(
    directory: DirectoryDocument,
    search: { text?: string; under?: string; limit: number },
  ): Promise<{ people: PersonPreview[]; isMore: boolean }>;
  /** How somebody's first factor comes out, and the event that the actor asked. 429 where it is asked too often. */
  checkSignIn(
    directory: DirectoryDocument,
    who: { username: string; password: string; actor: string },
  ): Promise<SignInCheck>;
  /** Users of any directory with a number that waits for an administrator. */
  listPendingPhones(limit: number): Promise<UserDocument[]>;
};

/** RADIUS as this node serves it. */
export type RadiusPorts = {
  /**
   * Signs somebody in as a client would, with real packets; it counts like any other sign-in, and an event says who
   * asked for it. Ends within 40 s. 429 while too many are tested.
   */
  test(test: RadiusTest): Promise<RadiusTestReport>;
  /**
   * Hands on a line for every datagram at the ports of the node, from all its processes, until aborted. `onLine` must
   * not throw. Rejects with 429 while too many watch; resolves when it has ended, or nothing can be heard any more.
   */
  watch(watch: { signal: AbortSignal; onLine: (line: RadiusWatchLine) => void }): Promise<void>;
};

export type RadiusTest = {
  client: RadiusClientDocument;
  /** Names the test: what answers its question, or is sent again, comes with the same. */
  id: string;
  username: string;
  /** Null: none is typed. */
  password: string | null;
  /** As it is typed with the password, or alone; where the client takes none there, for its question. */
  code: string | null;
  /** To a question of the same test. */
  answer: { state: string; code: string } | null;
  /** The address it shall look to come from; null: the first of the client's. */
  from: string | null;
  /** Calling-Station-Id; null: none. */
  station: string | null;
  actor: string;
};

export const RADIUS_TEST_STEPS = [
  'client',
  'message-authenticator',
  'typed',
  'first factor',
  'second step',
  'verdict',
  'reply',
] as const;

export type RadiusTestReport = {
  id: string;
  node: string;
  /** What happened, in its order; `tookMs` where it took time of its own. */
  steps: {
    step: (typeof RADIUS_TEST_STEPS)[number];
    ok: boolean;
    text: string;
    tookMs: number | null;
  }[];
  /** `unanswered`: it never got as far, or was dropped. */
  outcome: 'accept' | 'reject' | 'challenge' | 'unanswered';
  /** Of what is no accept, as it was judged: clients are told less. */
  reason: string | null;
  question: { text: string; state: string } | null;
  /** Of the last reply; what is secret is stars. */
  attributes: { name: string; value: string }[];
  tookMs: number;
};

/** A datagram at the node's RADIUS ports, and what became of it. Text from outside is escaped; nothing secret is in it. */
export type RadiusSeen = {
  kind: 'seen';
  at: string;
  /** Which of the node's workers. */
  worker: number;
  service: 'authentication' | 'accounting';
  from: string;
  /** Null: a stranger. */
  client: string | null;
  /** Who tests, where it was a test. */
  testBy: string | null;
  /** Such as Access-Request; null: it was not read. */
  packet: string | null;
  /** Such as pap; null: it is no sign-in. */
  protocol: string | null;
  /** As it was sent; as in the events where those hide unknown names. Null: it was not judged. */
  user: string | null;
  /** Such as accept, reject, challenge, answered, duplicate, dropped. */
  verdict: string;
  why: string | null;
  /** Without the name of the user; null: too long to tell. */
  attributes: { name: string; value: string }[] | null;
  tookMs: number | null;
};

export type RadiusWatchLine =
  /** All lines from here on are heard, but of `silent` workers. */
  | { kind: 'watching'; node: string; workers: number; silent: number[] }
  | RadiusSeen
  /** So many were seen and cannot be told of. */
  | { kind: 'lost'; count: number }
  /** Nothing was seen for a while. */
  | { kind: 'quiet' };

export type StoredDirectory = {
  document: DirectoryDocument;
  /** Null: it was never synchronised. */
  sync: DirectorySyncDocument | null;
};

export type NamedObject = { dn: string; name: string };

/** In one line what is wrong, and what was seen on the way. */
export type DirectoryTestReport = {
  ok: boolean;
  fault: 'unreachable' | 'certificate' | 'credentials' | 'base_dn' | 'rights' | null;
  line: string;
  servers: { url: string; ok: boolean; line: string }[];
  seen: {
    server: string | null;
    namingContexts: string[];
    people: number | null;
    groups: number | null;
    containers: number | null;
    changes: string | null;
  };
};

export type PersonPreview = {
  /** What an import names. */
  object: string;
  dn: string;
  /** Null: nothing that could be one. */
  username: string | null;
  firstName: string | null;
  lastName: string | null;
  displayName: string | null;
  mail: string | null;
  description: string | null;
  language: string | null;
  phones: { kind: PhoneKind; number: string; extension: string | null }[];
  isDisabled: boolean;
  /** The sync item that would take it; null: only an import by hand does. */
  item: string | null;
  /** Who it is already. */
  user: string | null;
  /** Why it cannot become a user. */
  problem: string | null;
  dropped: { attribute: string; why: string }[];
};

export type SignInCheck =
  | { outcome: 'accepted'; object: string; dn: string; user: string | null }
  | { outcome: 'refused'; reason: string }
  | { outcome: 'unavailable'; problem: string };

export type UserPage = {
  after?: string;
  limit: number;
  search?: string;
  /** Only those who skip the second step now. */
  exempt?: boolean;
};

/** As it arrived: nothing in it is true before its signature is. */
export type TextCallback = { body: string; signature: string | undefined };
/** refused: no provider of ours signed it. */
export type TextCallbackOutcome = 'taken' | 'refused' | 'malformed';

export type OutboxEntry = {
  kind: 'text' | 'mail';
  at: string;
  id: string;
  to: string;
  subject: string | null;
  text: string;
};

/** What only an operator at the node may do. Each shows first what it would do; `token` comes from there. */
export type OperatorPorts = {
  describePromotion(): Promise<DisasterReport>;
  /** `missed`: why its log server may have held more than was taken over. */
  forcePromotion(token: string): Promise<{ missed: string | null }>;
  describeRejoin(): Promise<RejoinReport>;
  rejoin(token: string): Promise<{ file: string }>;
  /**
   * Hands everything this node knows, as lines of JSON, to `take`, which waits until whoever asked has taken them,
   * or for the signal.
   * A ProblemError 409 while it is not the time for one.
   */
  backUp(
    how: { withEvents: boolean; reason: string | null },
    take: (lines: AsyncIterable<string>, signal: AbortSignal) => Promise<void>,
  ): Promise<void>;
};

/** What is known where the log's majority may be gone. */
export type DisasterReport = {
  node: string;
  incarnation: number;
  /** The last change this node has. */
  revision: number;
  epoch: number;
  appliedAt: string;
  logServers: string[];
  /** Nodes of this log with data that answer now. */
  answering: string[];
  lastHeard: { node: string; at: string; revision: number; online: boolean }[];
  /** Why it will not be done; null: it may. */
  refused: string | null;
  /** What people should look at afterwards: it may have been changed where nobody can see it any more. */
  review: { blockedUsers: string[]; apiKeys: string[] };
  token: string;
};

/** What a node would give up to follow another. */
export type RejoinReport = {
  node: string;
  incarnation: number;
  revision: number;
  to: { node: string; incarnation: number; revision: number; master: string | null };
  drops: {
    revision: number;
    kind: string;
    id: string;
    name: string;
    removed: boolean;
    at: string;
    actor: string;
    commandId: string | null;
  }[];
  token: string;
};

export type Credentials = {
  bearer: string | null;
  remoteAddress: string;
  local: boolean;
  /** Why, in the person's words. */
  reason?: string;
  /** The handler asks {@link Caller.isStillValid} by the read it judges with, so a remembered key will do here. */
  isConfirmedLater: boolean;
};

export type Caller = {
  /** Stable id of who calls: the API key's id, or `socket`. */
  id: string;
  name: string;
  scopes: ReadonlySet<Right>;
  applications: string[] | null;
  /** Missing: it is no person's session. */
  session?: CallerSession;
  /** The session anew, to be sent from now on: what is not used for 30 minutes is over. */
  renewedToken?: string;
  /** Whether the key still stood at this revision of the replica; missing = it was read for this request. */
  isStillValid?(revision: number): Promise<boolean>;
  /** What the master's agent checks again before it executes a command. */
  proof: CommandProof;
};

/** Times are Unix milliseconds. */
export type CallerSession = {
  id: string;
  administratorId: string;
  secondFactorAt: number;
  expiresAt: number;
};

export type CommandProof =
  /** `reason`: why, in the person's words. */
  | { kind: 'session'; token: string; reason?: string }
  | { kind: 'invitation'; secret: string }
  /** `remoteAddress`: where the request came from, as the node saw it. */
  | { kind: 'api-key'; secret: string; remoteAddress?: string }
  | { kind: 'socket'; node: string }
  /** It stands in the command itself, which its bearer has signed. */
  | { kind: 'join-token' };

export type VerificationAttempt = {
  caller: Caller;
  /** null: of the person who was asked the question. */
  username: string | null;
  /**
   * Of the user's directory, or what proves one at `passwordTarget`: proven before anything else is judged; null: the
   * first factor is the caller's business.
   */
  password: string | null;
  door: FrontDoor;
  /** null: nothing typed yet. */
  code: string | null;
  pin: string | null;
  /** Takes the PIN's place where it must be changed. */
  newPin: string | null;
  /** The method asked for; null: the user's. */
  method: Method | null;
  /** What this answers, as it was given out; null: it begins. */
  challenge: { id: string; sealed: string } | null;
  application: string | null;
  /** Address of the end user if the caller may assert it, else null. */
  clientIp: string | null;
  /** Address the request came from. */
  remoteAddress: string;
  idempotencyKey: string | null;
  /** Other keys that this may have been sent with moments ago: whichever is known, this is the same. */
  resentKeys?: readonly string[];
  /** Still others, of what is answered elsewhere: known only while somebody waits for that. */
  lastingKeys?: readonly string[];
  /** The front door waits for what is answered elsewhere; `holder`: 8 random characters of this very wait. */
  waiting?: { seconds: number; holder: string; hasGivenUp: boolean };
  /** Where the person sits, as the front door has it: an answer comes from where the question went. */
  station?: string;
  /** Directories whose people may come this way, by id; missing or null: all. */
  directories?: readonly string[] | null;
  /** Judges the password in the place of directories. */
  passwordTarget?: PasswordTarget;
};

/** A server that knows somebody's password, asked for one attempt. Never rejects. */
export type PasswordTarget = { id: string; name: string; prove(): Promise<PasswordJudged> };

/** A look at a question, by whoever asked it. */
export type VerificationPoll = Pick<VerificationAttempt, 'caller' | 'door' | 'application'> & {
  challenge: { id: string; sealed: string };
};

export type VerificationOutcome =
  | {
      kind: 'verdict';
      id: string;
      approved: boolean;
      reason?: DenialReason;
      /** Why nothing was asked. */
      skipped?: Skip;
      /** Of the user who is approved. */
      group?: string;
      /** The person's, where a question followed a proven first factor. */
      language?: string;
      degraded: boolean;
    }
  | {
      kind: 'challenge';
      id: string;
      sealed: string;
      method: Method;
      mode: string;
      asks: readonly string[];
      /** Where a code went, but for its last digits hidden. */
      sentTo: string | null;
      /** What the person could be asked instead. */
      others?: readonly Method[];
      /** The person's, once the first factor is proven; before that the application's. */
      language?: string;
      expiresAt: string;
      degraded: boolean;
    }
  /** The same Idempotency-Key came with other content. */
  | { kind: 'conflict'; id: string }
  | { kind: 'not_ready'; detail: string };

/** A wish to change something; the master's agent parses and authorises `args` by `name`. */
export type CommandRequest = {
  name: CommandName;
  args: Record<string, unknown>;
  caller: Caller;
  idempotencyKey: string | null;
  timeoutMs: number;
};

export const COMMAND_NAMES = [
  'user.add',
  'user.add-many',
  'user.set',
  'user.block',
  'user.unblock',
  'user.remove',
  'user.export',
  'user.erase',
  'user.exempt',
  'user.end-exemption',
  'user.bypass',
  'user.end-bypass',
  'user.set-pin',
  'user.remove-pin',
  'user.change-pin',
  'user.make-recovery-codes',
  'user.make-enrolment-code',
  'user.report-fraud',
  'authenticator.enroll',
  'authenticator.enroll-with-code',
  'authenticator.activate',
  'authenticator.resynchronise',
  'authenticator.remove',
  'api-key.add',
  'api-key.revoke',
  'administrator.add',
  'administrator.set',
  'administrator.remove',
  'administrator.invite',
  'administrator.accept',
  'administrator.recover',
  'session.revoke',
  'settings.set',
  'application.add',
  'application.set',
  'application.remove',
  'directory.add',
  'directory.set',
  'directory.set-items',
  'directory.remove',
  'directory.sync',
  'directory.import',
  'directory.status',
  'directory.approve',
  'directory.reject',
  'directory.approve-phone',
  'directory.reject-phone',
  'radius-client.add',
  'radius-client.set',
  'radius-client.remove',
  'radius-target.add',
  'radius-target.set',
  'radius-target.remove',
  'join-token.add',
  'join-token.list',
  'join-token.revoke',
  'node.join',
  'node.renew',
  'cluster.promote',
  'cluster.demote',
  'cluster.replace-node',
  'cluster.remove-node',
  'cluster.rotate-keys',
] as const;
export type CommandName = (typeof COMMAND_NAMES)[number];

/** What became of one user of `user.add-many`: 201 with the id, or why not. Its result is `{ results: BulkResult[] }`. */
export type BulkResult =
  | {
      status: 201;
      id: string;
      revision: number;
      /** `otpauth` where the secret was made by the server. */
      authenticators?: { id: string; otpauth?: string }[];
    }
  | { status: number; code: string; detail: string };

export type CommandReply =
  | { kind: 'done'; revision: number; applied: boolean; result: Record<string, unknown> }
  /** No master did it; this node did, and the cluster follows. Only of commands that take rights away. */
  | { kind: 'stopped'; fact: StopFact }
  | { kind: 'refused'; status: number; code: string; detail: string }
  | { kind: 'master_offline'; lastMaster: string | null; since: string | null }
  | { kind: 'outcome_unknown' };

export type ClusterView = {
  incarnation: {
    number: number;
    id: string;
    parent: string | null;
    baseRevision: number;
    /** When it was made without a quorum of its parent; null otherwise. */
    disasterAt: string | null;
  };
  epoch: number;
  master: string | null;
  masterSince: string | null;
  lastMaster: string | null;
  failover: 'automatic' | 'manual';
  quorum: boolean;
  logReplicas: number;
  logServers: { name: string; online: boolean }[];
  /** Machines that run a log server only; missing where there is none. */
  witnesses?: ClusterWitness[];
  /** They are the operator's own (nats.urls). */
  operatorsNats?: true;
  /** True while this node judges without the quorum. */
  degraded: boolean;
  /** Stop facts in force that are not changes yet, as this node knows them. */
  pendingStopFacts: number;
  /** Users who skip the second step now; the first 100. */
  exemptUsers: string[];
  /** Only those with which something is wrong, or of which something waits for an administrator. */
  directories?: DirectoryNotice[];
  /** RADIUS clients in force that need no Message-Authenticator; the first 100. */
  unsignedRadius?: { name: string; messageAuthenticator: 'observe' | 'off' }[];
  /** RADIUS clients in force that let in whoever is no user with nothing checked here; the first 100. */
  uncheckedRadius?: string[];
  /** Missing where no node tells. */
  keys?: ClusterKeys;
  answeredBy: string;
  nodes: ClusterNode[];
};

/** No node: it verifies nobody and holds nothing that it could read. */
export type ClusterWitness = {
  name: string;
  online: boolean;
  lastSeen: string | null;
  version: string | null;
  /** Its log server is one of the log's. */
  runsLogServer: boolean;
  certificateExpiresAt: string;
  problems: string[];
};

/** Generations of the cluster's key, never a key. */
export type ClusterKeys = {
  /** The one that seals, as the master says, or else the node that answers. */
  active: string;
  /** Oldest first; those that are retired are left out. */
  generations: {
    id: string;
    madeAt: string;
    /** Nodes that have it on their disk. */
    nodes: string[];
  }[];
  /** Null: the key is not being changed, as far as the master says. */
  rotation: {
    from: string;
    to: string;
    reason: string;
    by: string;
    startedAt: string;
    /** When every node had the new one. */
    activatedAt: string | null;
    /** Nodes that have not said that they are as far as the master. */
    waitsFor: string[];
    /** Documents looked at in this pass, of so many. */
    seen: number;
    of: number;
    /** Nothing was left under the old one. */
    isClean: boolean;
    /** The old one goes then at the earliest. */
    retiresAt: string | null;
  } | null;
};

export type DirectoryNotice = {
  name: string;
  /** Why its last synchronisation came to nothing. */
  problem: string | null;
  held: { count: number; hash: string } | null;
};

export type ClusterNode = {
  name: string;
  role: 'master' | 'subordinate';
  online: boolean;
  revision: number;
  epoch: number;
  digest: string;
  /** False while a compacted log is being caught up with: its digest cannot be compared yet. */
  digestComparable: boolean;
  behind: number;
  version: string;
  clockOffsetMs: number;
  promotable: boolean;
  lastSeen: string | null;
  url: string | null;
  /** The incarnation its tables belong to. */
  incarnation: number;
  /** How far it is with tables for another incarnation; null while it fills none. */
  filling: number | null;
  /** False where it cannot verify now: its PostgreSQL is silent, or its clock is too far off. */
  verifies: boolean;
  /** How its tables differ from what was applied to them; null where no difference was found. */
  damage: string | null;
  /** Until when they are good. Missing: not told. */
  certificates?: { name: string; expiresAt: string }[];
  problems: string[];
};

/** What `doctor` found. */
export type NodeExamination = {
  node: string;
  /** False: it is still looked at, ask again. */
  finished: boolean;
  /** Seen so far. */
  documents: number;
  /** `fix`: what to type about it. An older node tells neither that nor how bad it is. */
  checks: {
    name: string;
    ok: boolean;
    severity?: 'warning' | 'critical';
    detail: string;
    fix?: string;
  }[];
};

export type StoredUser = {
  document: UserDocument;
  revision: number;
  lockedUntil: string | null;
  /** All that this node knows of, lifted ones too. */
  stopFacts: StopFact[];
};

export type StoredPerson = {
  user: StoredUser;
  state: UserState | null;
  /** Newest first. */
  events: StoredEvent[];
  isCut: boolean;
};

export type StoredApiKey = {
  document: ApiKeyDocument;
  revision: number;
  /** By a stop fact that is no change yet. */
  isRevoked: boolean;
};

export type EventFilter = {
  user?: string;
  sinceMs?: number;
  type?: string;
  limit: number;
};

/** A place in the cluster's event stream; it means the same on every node. */
export type EventCursor = { incarnation: number; arrival: number };

export type StoredEvent = {
  id: string;
  at: string;
  type: string;
  node: string;
  user: string | null;
  actor: string | null;
  application: string | null;
  clientAddress: string | null;
  result: string | null;
  reason: string | null;
  degraded: boolean;
  durationMs: number | null;
  details: Record<string, unknown>;
};

export type Readiness = { ready: boolean; degraded: boolean; problems: string[] };

export type { ApiScope, DenialReason, Settings, StopFact, UserDocument };
