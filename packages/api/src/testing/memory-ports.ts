import { randomUUID } from 'node:crypto';
import {
  API_SCOPES,
  changeSettings,
  checkSecret,
  decodeBase32,
  findApplication,
  SecretRequiredError,
  settingsFrom,
  usernameKey,
} from '@countersign/verification';
import type {
  AdministratorDocument,
  ApplicationDocument,
  DirectoryDocument,
  SettingChange,
  SettingsDocument,
  UserDocument,
  UserState,
} from '@countersign/verification';
import type {
  ApiPorts,
  ApiScope,
  Caller,
  ClusterView,
  CommandReply,
  CommandRequest,
  Credentials,
  EventCursor,
  EventFilter,
  NodeExamination,
  Readiness,
  StoredPerson,
  StoredApiKey,
  StoredEvent,
  StoredUser,
  UserPage,
  VerificationAttempt,
  VerificationOutcome,
  VerificationPoll,
} from '../ports.ts';
import { ProblemError } from '../problem.ts';
import { MemoryDirectories } from './memory-directories.ts';
import { MemoryRadiusFront } from './memory-radius-front.ts';
import { MemorySessions } from './memory-sessions.ts';
import { MemoryRadius } from './memory-radius.ts';

type EnrollArgs = {
  type: string;
  secret?: string;
  name?: string;
  initialCounter?: number;
  number?: string;
  use?: 'primary' | 'backup';
};

/**
 * A whole server in memory behind the API, for tests of the routes and of clients: it keeps users,
 * settings and events, and approves each of `goodCodes` once per user. Its one PIN to change is 7391,
 * its one enrolment code {@link ENROLMENT_CODE}. Public fields bend it.
 */
export class MemoryPorts implements ApiPorts {
  readonly node = 'node-1';
  readonly version = '0.1.0-test';
  readonly keys = new Map<string, Omit<Caller, 'proof'>>();
  readonly events: StoredEvent[] = [];
  readonly states = new Map<string, UserState>();
  apiKeys: StoredApiKey[] = [];
  readonly commands: CommandRequest[] = [];
  readonly attempts: VerificationAttempt[] = [];
  readonly credentials: Credentials[] = [];
  /** What the next examinations find; none: nothing wrong. */
  examinations: NodeExamination[] = [];
  readonly directories = new MemoryDirectories();
  readonly radius = new MemoryRadius();
  readonly sessions = new MemorySessions();
  readonly radiusFront = new MemoryRadiusFront();
  goodCodes = new Set(['123456']);
  cluster: ClusterView = healthyCluster();
  readiness: Readiness = { ready: true, degraded: false, problems: [] };
  /** Set to answer every command with it. */
  commandReply: CommandReply | null = null;
  /** Commands are answered after it. */
  untilAnswered: Promise<void> | null = null;
  readonly joinTokens = new Set<string>();
  /** Set to answer every verification with it. */
  outcome: VerificationOutcome | null = null;

  #users = new Map<string, { document: UserDocument; revision: number }>();
  #usedCodes = new Set<string>();
  #settings = new Map<string, SettingsDocument>();
  #applications = new Map<string, ApplicationDocument>();
  #settingsRevision = 0;
  #revision = 0;

  addKey(secret: string, scopes: readonly ApiScope[] = API_SCOPES, applications?: string[]): void {
    this.keys.set(secret, {
      id: randomUUID(),
      name: secret,
      scopes: new Set(scopes),
      applications: applications ?? null,
    });
  }

  async authenticate(credentials: Credentials): Promise<Caller | null> {
    this.credentials.push(credentials);
    if (credentials.local) {
      const scopes = new Set(API_SCOPES);
      const proof = { kind: 'socket', node: this.node } as const;
      return { id: 'socket', name: 'socket', scopes, applications: null, proof };
    }
    const session = this.sessions.authenticate(credentials);
    if (session) return session;
    const secret = credentials.bearer ?? '';
    const key = this.keys.get(secret);
    return key === undefined ? null : { ...key, proof: { kind: 'api-key', secret } };
  }

  async verify(attempt: VerificationAttempt): Promise<VerificationOutcome> {
    this.attempts.push(attempt);
    if (this.outcome !== null) return this.outcome;
    const verdict = { kind: 'verdict', id: randomUUID(), degraded: false } as const;
    const user = this.#users.get(usernameKey(attempt.username ?? ''))?.document;
    if (user === undefined) return { ...verdict, approved: false, reason: 'unknown_user' };
    if (user.blocked !== null) return { ...verdict, approved: false, reason: 'blocked' };
    if (attempt.code === null) {
      const { id, degraded } = verdict;
      const question = { method: 'oath', mode: 'code', asks: ['code'], sentTo: null } as const;
      const expiresAt = new Date(Date.now() + 60_000).toISOString();
      return { kind: 'challenge', id, sealed: `sealed-${id}`, ...question, expiresAt, degraded };
    }
    if (!this.goodCodes.has(attempt.code)) {
      return { ...verdict, approved: false, reason: 'wrong_code' };
    }
    const item = `${user.id} ${attempt.code}`;
    if (this.#usedCodes.has(item)) return { ...verdict, approved: false, reason: 'replayed' };
    this.#usedCodes.add(item);
    return { ...verdict, approved: true };
  }

  async pollVerification(poll: VerificationPoll): Promise<{ kind: 'open'; id: string }> {
    return { kind: 'open', id: poll.challenge.id };
  }

  async runCommand(request: CommandRequest): Promise<CommandReply> {
    this.commands.push(request);
    await this.untilAnswered;
    if (this.commandReply !== null) return this.commandReply;
    return this.#execute(request.name, request.args);
  }

  async knowsJoinToken(id: string): Promise<boolean> {
    return this.joinTokens.has(id);
  }

  async readCluster(): Promise<ClusterView> {
    return this.cluster;
  }

  async findUser(username: string): Promise<StoredUser | null> {
    const found = this.#users.get(usernameKey(username));
    return found === undefined ? null : { ...found, lockedUntil: null, stopFacts: [] };
  }

  async readPerson(username: string): Promise<StoredPerson | null> {
    const user = await this.findUser(username);
    if (user === null) return null;
    const events = this.events.filter((event) => event.user === user.document.username);
    return { user, state: this.states.get(user.document.id) ?? null, events, isCut: false };
  }

  async listUsers(page: UserPage): Promise<StoredUser[]> {
    const { after, limit, search, exempt = false } = page;
    return [...this.#users]
      .filter(([key]) => after === undefined || key > after)
      .filter(([key]) => search === undefined || key.includes(search.toLowerCase()))
      .filter(([, { document }]) => !exempt || document.exempt !== undefined)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, limit)
      .map(([, user]) => ({ ...user, lockedUntil: null, stopFacts: [] }));
  }

  administrators: AdministratorDocument[] = [];

  async listAdministrators(): Promise<AdministratorDocument[]> {
    return this.administrators;
  }

  async listApiKeys(): Promise<StoredApiKey[]> {
    return this.apiKeys;
  }

  async readSettings() {
    const settings = settingsFrom([...this.#settings.values()]);
    const applications = this.#applications;
    const directories: DirectoryDocument[] = [];
    const { clients: radiusClients, targets: radiusTargets } = this.radius;
    const revision = this.#settingsRevision;
    return { settings, applications, directories, radiusClients, radiusTargets, revision };
  }

  async listEvents(filter: { user?: string; sinceMs?: number; type?: string; limit: number }) {
    return this.events
      .filter((event) => filter.user === undefined || event.user === filter.user)
      .filter((event) => filter.type === undefined || event.type === filter.type)
      .filter((event) => Date.parse(event.at) >= (filter.sinceMs ?? 0))
      .slice(0, filter.limit);
  }

  /** `events` stand in the order in which they arrived. */
  async eventsAfter(
    filter: EventFilter & { after: EventCursor | 'end' },
  ): Promise<{ events: StoredEvent[]; next: EventCursor }> {
    const { after, limit } = filter;
    const from = after === 'end' ? this.events.length : after.arrival;
    const events = this.events.slice(from, from + limit);
    return { events, next: { incarnation: 1, arrival: from + events.length } };
  }

  async examineNode(node: string): Promise<NodeExamination> {
    const next = this.examinations.shift();
    if (next) return next;
    const seen = this.cluster.nodes.find(({ name }) => name === node);
    if (!seen?.online) throw new ProblemError(503, 'node_offline', `${node} is not there.`);
    const checks = [{ name: 'tables', ok: true, detail: 'as they should be' }];
    return { node, finished: true, documents: 7, checks };
  }

  async checkReady(): Promise<Readiness> {
    return this.readiness;
  }

  isMaster(): boolean {
    return this.cluster.master === this.node;
  }

  async metrics() {
    return { contentType: 'text/plain; version=0.0.4', text: 'countersign_up 1\n' };
  }

  #execute(name: CommandRequest['name'], args: Record<string, unknown>): CommandReply {
    switch (name) {
      case 'user.add':
        return this.#addUser(args as { username: string });
      case 'user.add-many':
        return this.#addUsers(args as { users: { username: string }[] });
      case 'settings.set':
        return this.#setSettings(args as { changes: Record<string, SettingChange['value']> });
      case 'application.add':
        return this.#addApplication(args as { name: string });
      case 'application.set':
      case 'application.remove':
        return this.#changeApplication(args as { name: string });
      case 'api-key.add':
        return this.#addKeyDocument(args);
      case 'api-key.revoke':
        return this.#revokeKey(String(args.id));
      case 'cluster.promote':
      case 'cluster.demote':
        return this.#moveMaster(args);
      default:
        if (name.startsWith('directory.')) return this.#done(this.directories.execute(name, args));
        if (name.startsWith('radius-')) return this.#done(this.radius.execute(name, args));
        return this.#changeUser(name, args as { username: string });
    }
  }

  #addUser(args: Partial<UserDocument> & { username: string }): CommandReply {
    if (this.#users.has(usernameKey(args.username))) {
      return refused(409, 'username_taken', 'There is a user of that name.');
    }
    const now = new Date().toISOString();
    const document: UserDocument = {
      id: randomUUID(),
      username: args.username,
      enabled: args.enabled ?? true,
      blocked: null,
      unlockedAt: null,
      authenticators: [],
      createdAt: now,
      updatedAt: now,
      ...(args.displayName == null ? {} : { displayName: args.displayName }),
      ...(args.email == null ? {} : { email: args.email }),
    };
    return this.#store(document, { id: document.id });
  }

  #addUsers({ users }: { users: { username: string }[] }): CommandReply {
    const results = users.map((user) => {
      const reply = this.#addUser(user);
      if (reply.kind === 'done') return { status: 201, revision: reply.revision, ...reply.result };
      if (reply.kind !== 'refused') throw new Error(reply.kind);
      const { status, code, detail } = reply;
      return { status, code, detail };
    });
    return { kind: 'done', revision: this.#revision, applied: true, result: { results } };
  }

  #changeUser(
    name: CommandRequest['name'],
    args: { username: string } & Record<string, unknown>,
  ): CommandReply {
    const user = this.#users.get(usernameKey(args.username))?.document;
    if (user === undefined) return refused(404, 'unknown_user', 'There is no such user.');
    const of = { userId: user.id };
    switch (name) {
      case 'user.set':
        this.#users.delete(usernameKey(user.username));
        return this.#store(changed(user, args.changes as Partial<UserDocument>), of);
      case 'user.block':
        return this.#store({ ...user, blocked: block(args) }, { userId: user.id });
      case 'user.unblock':
        return this.#store({ ...user, blocked: null }, { userId: user.id });
      case 'user.export':
        return { kind: 'done', revision: this.#revision, applied: true, result: of };
      case 'user.exempt':
        return this.#store(
          { ...user, exempt: { ...granted(args), until: String(args.until) } },
          of,
        );
      case 'user.end-exemption':
        return this.#store(without(user, 'exempt'), of);
      case 'user.bypass':
        return this.#store({ ...user, bypass: bypass(args) }, of);
      case 'user.end-bypass':
        return this.#store(without(user, 'bypass'), of);
      case 'user.set-pin':
        return this.#store({ ...user, pin: pin(args.mustChange === true) }, of);
      case 'user.change-pin':
        if (args.pin !== '7391') return refused(403, 'wrong_pin', 'The PIN is wrong.');
        return this.#store({ ...user, pin: pin(false) }, of);
      case 'user.remove-pin':
        return this.#store(without(user, 'pin'), of);
      case 'user.make-recovery-codes':
        return this.#makeRecoveryCodes(user, Number(args.count ?? 10));
      case 'user.make-enrolment-code':
        return this.#makeEnrolmentCode(user, Number(args.days ?? 14));
      case 'user.report-fraud':
        return this.#store(
          { ...user, blocked: block({ reason: 'fraud' }) },
          { ...of, blocked: true },
        );
      case 'authenticator.enroll-with-code':
        if (args.enrolmentCode !== ENROLMENT_CODE) {
          return refused(403, 'enrolment_refused', 'No such user with this enrolment code.');
        }
        return this.#enroll(without(user, 'enrolment'), args as unknown as EnrollArgs);
      case 'authenticator.activate':
      case 'authenticator.resynchronise':
        return this.#prove(user, String(args.id), [args.code, args.codes].flat());
      case 'user.remove':
        this.#users.delete(usernameKey(user.username));
        return this.#done({});
      case 'authenticator.enroll':
        return this.#enroll(user, args as unknown as EnrollArgs);
      default:
        return this.#removeAuthenticator(user, String(args.id));
    }
  }

  #enroll(user: UserDocument, args: EnrollArgs): CommandReply {
    const id = randomUUID();
    if (args.type === 'phone') return this.#addPhone(user, id, args);
    const secret = args.secret ?? 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP';
    try {
      if (checkSecret(decodeBase32(secret)) !== null) throw new Error('too short');
    } catch {
      return refused(400, 'invalid_secret', 'The secret is too short or not base32.');
    }
    const common = {
      id,
      algorithm: 'SHA1',
      digits: 6,
      sealedSecret: Buffer.from(`sealed ${secret}`).toString('base64'),
      createdAt: new Date().toISOString(),
      ...(args.name === undefined ? {} : { name: args.name }),
    } as const;
    const authenticator =
      args.type === 'totp'
        ? ({ ...common, type: 'totp', periodSeconds: 30 } as const)
        : ({ ...common, type: 'hotp', initialCounter: args.initialCounter ?? 0 } as const);
    const authenticators = [...user.authenticators, authenticator];
    const otpauth = `otpauth://${args.type}/Countersign:${user.username}?secret=${secret}`;
    return this.#store({ ...user, authenticators }, { id, otpauth });
  }

  #addPhone(user: UserDocument, id: string, { number = '', use = 'primary' }: EnrollArgs) {
    const createdAt = new Date().toISOString();
    const phone = { type: 'phone', id, number, use, vouchedBy: 'test', verifiedAt: null } as const;
    const authenticators = [...user.authenticators, { ...phone, createdAt }];
    return this.#store({ ...user, authenticators }, { id });
  }

  #makeRecoveryCodes(user: UserDocument, count: number): CommandReply {
    const codes = Array.from({ length: count }, (_, index) => `CCCC-DDDD-EEEE-FF${10 + index}`);
    const hashes = codes.map((_, index) => String(index).padStart(64, '0'));
    const recoveryCodes = { at: new Date().toISOString(), hashes };
    return this.#store({ ...user, recoveryCodes }, { userId: user.id, codes });
  }

  #makeEnrolmentCode(user: UserDocument, days: number): CommandReply {
    const expiresAt = new Date(Date.now() + days * 86_400_000).toISOString();
    const { at, by } = granted({});
    const enrolment = { id: randomUUID(), codeHash: 'ef'.repeat(32), at, by, expiresAt };
    const result = { userId: user.id, code: ENROLMENT_CODE, expiresAt };
    return this.#store({ ...user, enrolment }, result);
  }

  #addKeyDocument(args: Record<string, unknown>): CommandReply {
    const document = {
      applications: null,
      networks: null,
      expiresAt: null,
      ...(args as { name: string; scopes: ApiScope[] }),
      id: randomUUID(),
      secretHash: 'cd'.repeat(32),
      createdAt: new Date().toISOString(),
    };
    const done = this.#done({ id: document.id, key: 'cs_shown-once' });
    this.apiKeys = [...this.apiKeys, { document, revision: this.#revision, isRevoked: false }];
    return done;
  }

  #removeAuthenticator(user: UserDocument, id: string): CommandReply {
    const authenticators = user.authenticators.filter((each) => each.id !== id);
    if (authenticators.length === user.authenticators.length) {
      return refused(404, 'unknown_authenticator', 'There is no such authenticator.');
    }
    return this.#store({ ...user, authenticators }, {});
  }

  #prove(user: UserDocument, id: string, codes: unknown[]): CommandReply {
    const isRight = codes.some((code) => this.goodCodes.has(String(code)));
    if (!isRight) return refused(403, 'wrong_code', 'The code is wrong.');
    const authenticators = user.authenticators.map((one) =>
      one.id === id && one.type !== 'phone' ? { ...one, usedUpTo: 1 } : one,
    );
    return this.#store({ ...user, authenticators }, { id });
  }

  #revokeKey(id: string): CommandReply {
    const others = this.apiKeys.filter(({ document }) => document.id !== id);
    if (others.length === this.apiKeys.length) {
      return refused(404, 'unknown_api_key', 'There is no such API key.');
    }
    this.apiKeys = others;
    return this.#done({ id });
  }

  #setSettings(args: { changes: Record<string, SettingChange['value']> }): CommandReply {
    const settings = settingsFrom([...this.#settings.values()]);
    const changes = Object.entries(args.changes).map(([name, value]) => ({ name, value }));
    try {
      const document = changeSettings(settings, changes, () => 'c2VhbGVk');
      this.#settings.set(document.id, document);
    } catch (error) {
      if (!(error instanceof SecretRequiredError)) throw error;
      return refused(400, 'secret_required', error.message);
    }
    return this.#settingsDone({});
  }

  #addApplication(args: Partial<ApplicationDocument> & { name: string }): CommandReply {
    if (findApplication(this.#applications, args.name)) {
      return refused(409, 'application_name_taken', 'There is an application of that name.');
    }
    const at = new Date().toISOString();
    const application = {
      id: randomUUID(),
      enabled: true,
      userMatch: 'require' as const,
      settings: {},
      createdAt: at,
      updatedAt: at,
      ...args,
    };
    this.#applications.set(usernameKey(args.name), application);
    return this.#settingsDone({ id: application.id });
  }

  /** Without changes it is removed. */
  #changeApplication(args: {
    name: string;
    changes?: Partial<ApplicationDocument> & { settings: object };
  }): CommandReply {
    const application = findApplication(this.#applications, args.name);
    if (!application) return refused(404, 'unknown_application', 'There is no such application.');
    this.#applications.delete(usernameKey(args.name));
    if (args.changes) {
      const merged = Object.entries({ ...application.settings, ...args.changes.settings });
      const settings = Object.fromEntries(merged.filter(([, value]) => value !== null));
      const edited = { ...application, ...args.changes, settings };
      this.#applications.set(usernameKey(edited.name), edited);
    }
    return this.#settingsDone({ id: application.id });
  }

  #settingsDone(result: Record<string, unknown>): CommandReply {
    const done = this.#done(result);
    this.#settingsRevision = this.#revision;
    return done;
  }

  #moveMaster({ node = 'node-2' }: { node?: string }): CommandReply {
    if (!this.cluster.nodes.some((each) => each.name === node)) {
      return refused(404, 'node_not_found', 'There is no such node.');
    }
    this.cluster = { ...this.cluster, master: node, epoch: this.cluster.epoch + 1 };
    return this.#done({ master: node, epoch: this.cluster.epoch });
  }

  #store(document: UserDocument, result: Record<string, unknown>): CommandReply {
    const done = this.#done(result);
    this.#users.set(usernameKey(document.username), { document, revision: this.#revision });
    return done;
  }

  #done(result: Record<string, unknown>): CommandReply {
    this.#revision += 1;
    return { kind: 'done', revision: this.#revision, applied: true, result };
  }
}

export const ENROLMENT_CODE = 'AAAA-BBBB-CCCC-DDDD';

/** Three nodes, all well, node-1 master for 12 minutes. */
export function healthyCluster(nowMs: number = Date.now()): ClusterView {
  const node = {
    role: 'subordinate',
    online: true,
    revision: 1042,
    epoch: 3,
    digest: 'ab'.repeat(32),
    digestComparable: true,
    behind: 0,
    version: '0.1.0',
    clockOffsetMs: 3,
    promotable: true,
    lastSeen: new Date(nowMs).toISOString(),
    url: null,
    incarnation: 1,
    filling: null,
    verifies: true,
    damage: null,
    problems: [],
  } as const;
  const names = ['node-1', 'node-2', 'node-3'];
  return {
    incarnation: {
      number: 1,
      id: '5f3a9c1e',
      parent: null,
      baseRevision: 0,
      disasterAt: null,
    },
    epoch: 3,
    master: 'node-1',
    masterSince: new Date(nowMs - 12 * 60_000).toISOString(),
    lastMaster: 'node-1',
    failover: 'automatic',
    quorum: true,
    logReplicas: 3,
    logServers: names.map((name) => ({ name, online: true })),
    degraded: false,
    pendingStopFacts: 0,
    exemptUsers: [],
    answeredBy: 'node-1',
    nodes: names.map((name) => ({
      ...node,
      name,
      role: name === 'node-1' ? 'master' : 'subordinate',
      problems: [],
    })),
  };
}

function refused(status: number, code: string, detail: string): CommandReply {
  return { kind: 'refused', status, code, detail };
}

/** null clears. */
function changed(user: UserDocument, changes: Partial<UserDocument>): UserDocument {
  const kept = (fields: object) =>
    Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
  const modes = kept({ ...user.modes, ...changes.modes });
  const { blocked, unlockedAt } = user;
  return { ...(kept({ ...user, ...changes, modes }) as UserDocument), blocked, unlockedAt };
}

function granted(args: Record<string, unknown>) {
  return { reason: String(args.reason), at: new Date().toISOString(), by: 'test' };
}

function bypass(args: Record<string, unknown>) {
  const expiresAt = new Date(Date.now() + Number(args.seconds ?? 300) * 1000).toISOString();
  return { id: randomUUID(), ...granted(args), expiresAt };
}

function pin(mustChange: boolean): NonNullable<UserDocument['pin']> {
  const hash = { salt: 'c2FsdHNhbHRzYWx0c2Fsd'.padEnd(24, '='), hash: 'aGFzaA'.padEnd(44, '=') };
  return { ...hash, setAt: new Date().toISOString(), mustChange, history: [] };
}

function without(user: UserDocument, field: 'exempt' | 'bypass' | 'pin' | 'enrolment') {
  const { [field]: _gone, ...rest } = user;
  return rest;
}

function block(args: Record<string, unknown>) {
  const atMs = Date.now();
  return {
    reason: String(args.reason),
    at: new Date(atMs).toISOString(),
    by: 'test',
    expiresAt: new Date(atMs + Number(args.days ?? 90) * 86_400_000).toISOString(),
  };
}
