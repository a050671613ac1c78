import { randomUUID } from 'node:crypto';
import type { AgentAnswer, UserStates } from '@countersign/cluster';
import {
  findAdministrator,
  readForSession,
  readSettings,
  type Database,
} from '@countersign/database';
import { keyedHash, open, type PurposeKey } from '@countersign/keys';
import {
  authenticateSession,
  isPassword,
  newSession,
  sealSession,
  seedContext,
  type SessionClaims,
} from '@countersign/operations';
import {
  beginsLockout,
  emptyState,
  encodeState,
  FRESH_MINUTES,
  judgeStep,
  parseState,
  settingsFor,
  type AdministratorDocument,
  type DenialReason,
  type Settings,
  type StepInput,
  type UserDocument,
  type UserState,
} from '@countersign/verification';
import type { AgentEvents } from './events.ts';

export type SignInOptions = {
  db: Database;
  keys: Record<'pin' | 'seed' | 'session' | 'session-proof', PurposeKey>;
  states: Pick<UserStates, 'readThroughLeader' | 'write'>;
  events: Pick<AgentEvents, 'administratorJudged'>;
};

type Attempt = { code: string; address: string | null };
type Denial = { reason: DenialReason; beginsLockout?: boolean };
type Judged = { approved: true } | ({ approved: false } & Denial) | 'silent';

const QUORUM_WAIT_MS = 700;
const MAX_LOST_CAS = 4;
/** Hashes take 20 MB and some 30 ms each: one at a time, and so many sign-ins may be under way. */
const MAX_WAITING = 32;
/** What a sign-in of nobody is hashed for. */
const NOBODY = '00000000-0000-0000-0000-000000000000';

/**
 * Signs administrators in and steps their sessions up. It is the agent that does, for what a session is made with no
 * worker has. The rules and the states are those of everybody's verifications: a code counts once in the whole cluster,
 * wrong ones lock. Without the quorum nobody signs in here: the local socket is for that.
 */
export class AdministratorSignIn {
  readonly #options: SignInOptions;
  #hashing: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(options: SignInOptions) {
    this.#options = options;
  }

  /** A denial is one word, whatever was wrong; the event says what. */
  async signIn(asked: Attempt & { username: string; password: string }): Promise<AgentAnswer> {
    if (this.#waiting >= MAX_WAITING) return BUSY;
    // Before anything is waited for: those who come at once would all find room.
    this.#waiting += 1;
    try {
      return await this.#signIn(asked);
    } finally {
      this.#waiting -= 1;
    }
  }

  async #signIn(asked: Attempt & { username: string; password: string }): Promise<AgentAnswer> {
    const { db, keys } = this.#options;
    const found = await findAdministrator(db, asked.username);
    const stored = found?.credentials?.password ?? null;
    const isRight = await this.#inTurn(() =>
      isPassword(keys.pin, found?.id ?? NOBODY, asked.password, stored),
    );
    const { settings } = await readSettings(db);
    if (!found?.credentials)
      return this.#denied(asked, settings, found, { reason: 'unknown_user' });
    const judged = await this.#judge(found, settings, asked.code, isRight);
    if (judged === 'silent') return NO_QUORUM;
    const { id: administratorId } = found;
    const read = await readForSession(db, { administratorId, sessionId: null });
    if (!judged.approved) return this.#denied(asked, settings, found, judged);
    // Changed or removed in this very moment.
    if (read.administrator?.credentials?.since !== found.credentials.since) {
      return this.#denied(asked, settings, found, { reason: 'disabled' });
    }
    this.#tell('administrator.sign-in', asked, settings, { who: found, denial: null });
    return this.#session(found, newSession(randomUUID(), read, Date.now()));
  }

  /** The same session with a second factor of now. */
  async stepUp(asked: Attempt & { token: string }): Promise<AgentAnswer> {
    const { db, keys } = this.#options;
    const read = (of: Parameters<typeof readForSession>[1]) => readForSession(db, of);
    const session = await authenticateSession({ keys, read }, asked.token, Date.now());
    if (!session) return DENIED;
    const { administrator, claims } = session;
    const { settings } = await readSettings(db);
    const judged = await this.#judge(administrator, settings, asked.code, null);
    if (judged === 'silent') return NO_QUORUM;
    const denial = judged.approved ? null : judged;
    this.#tell('administrator.step-up', asked, settings, { who: administrator, denial });
    if (!judged.approved) return DENIED;
    return this.#session(administrator, {
      ...claims,
      secondFactorAt: Date.now(),
      usedAt: Date.now(),
    });
  }

  /** The same session, used now: nothing is shown for it, and its end and the age of its factor stay. */
  async renew(token: string): Promise<AgentAnswer> {
    const { db, keys } = this.#options;
    const read = (of: Parameters<typeof readForSession>[1]) => readForSession(db, of);
    const session = await authenticateSession({ keys, read }, token, Date.now());
    if (!session) return DENIED;
    return this.#session(session.administrator, { ...session.claims, usedAt: Date.now() });
  }

  #session({ username, roles }: AdministratorDocument, claims: SessionClaims): AgentAnswer {
    const result = {
      token: sealSession(this.#options.keys, claims),
      username,
      roles,
      expiresAt: new Date(claims.expiresAt).toISOString(),
      freshUntil: new Date(claims.secondFactorAt + FRESH_MINUTES * 60_000).toISOString(),
    };
    return { ok: true, result };
  }

  /** Judged by the state in the log alone: one compare-and-set, and no verdict before it. */
  async #judge(
    administrator: AdministratorDocument,
    settings: Settings,
    code: string,
    isRight: boolean | null,
  ): Promise<Judged> {
    const { db, keys, states } = this.#options;
    const { id } = administrator;
    const attemptId = randomUUID();
    for (let lost = 0; lost <= MAX_LOST_CAS; lost += 1) {
      const read = await states.readThroughLeader(id, QUORUM_WAIT_MS);
      if (read.kind === 'silent') return 'silent';
      const state = read.kind === 'found' ? parseState(read.bytes) : emptyState();
      const { disasterAtMs } = await readForSession(db, { administratorId: id, sessionId: null });
      const judgement = judgeStep(
        inputOf({ administrator, settings, code, isRight, state, attemptId, disasterAtMs, keys }),
      );
      // Nothing is asked of somebody who has typed a code, so nothing else ends without a record.
      if (judgement.kind !== 'record') {
        return judgement.kind === 'final' ? judgement.verdict : { approved: false, reason: 'busy' };
      }
      const revision = read.kind === 'found' ? read.revision : 0;
      const next = encodeState(judgement.next);
      const written = await states.write(id, next, revision, QUORUM_WAIT_MS);
      if (written.kind === 'silent') return 'silent';
      if (written.kind === 'written') {
        const { verdict } = judgement;
        if (verdict.approved) return verdict;
        return { ...verdict, beginsLockout: beginsLockout(state, judgement.next) };
      }
    }
    return { approved: false, reason: 'busy' };
  }

  #denied(
    asked: Attempt & { username: string },
    settings: Settings,
    who: AdministratorDocument | null,
    denial: Denial,
  ): AgentAnswer {
    const name = who ?? { username: this.#nameOfStranger(asked.username, settings) };
    this.#tell('administrator.sign-in', asked, settings, { who: name, denial });
    return DENIED;
  }

  #tell(
    type: string,
    { address }: Attempt,
    { events }: Settings,
    { who, denial }: { who: { username: string }; denial: Denial | null },
  ): void {
    this.#options.events.administratorJudged({
      type,
      actor: who.username,
      clientAddress: events.recordAddresses ? address : null,
      result: denial ? 'denied' : 'approved',
      reason: denial?.reason ?? null,
      // Administrators are told of it by mail.
      details: denial?.beginsLockout ? { beginsLockout: true } : {},
    });
  }

  /** People type passwords into name fields. */
  #nameOfStranger(username: string, { events }: Settings): string {
    if (!events.hashUnknownNames) return username.slice(0, 256);
    const hash = keyedHash(this.#options.keys.session, 'name', username);
    return `unknown-${hash.toString('hex').slice(0, 12)}`;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#hashing.then(work);
    this.#hashing = turn.catch(() => undefined);
    return turn;
  }
}

/** The administrator as a user who has one token, and nothing that could stand in for its code. */
function inputOf(about: {
  administrator: AdministratorDocument;
  settings: Settings;
  code: string;
  isRight: boolean | null;
  state: UserState;
  attemptId: string;
  disasterAtMs: number | null;
  keys: SignInOptions['keys'];
}): StepInput {
  const { administrator, settings, code, isRight, state, keys, disasterAtMs } = about;
  const { id, username, disabled, unlockedAt, createdAt, updatedAt, credentials } = administrator;
  const { totp } = credentials!;
  const user: UserDocument = {
    id,
    username,
    enabled: !disabled,
    blocked: null,
    unlockedAt,
    authenticators: [{ type: 'totp', ...totp, createdAt }],
    method: 'oath',
    modes: { oath: 'code' },
    createdAt,
    updatedAt,
  };
  const sealed = Buffer.from(totp.sealedSecret, 'base64');
  return {
    user,
    secrets: new Map([[totp.id, open(keys.seed, sealed, seedContext(totp.id))]]),
    state,
    settings: settingsFor(settings, null, user),
    attempt: {
      id: about.attemptId,
      keyHash: null,
      client: 'administrators',
      door: 'http',
      code,
      method: 'oath',
      wrongCodeHmac: keyedHash(keys.session, id, code).toString('base64url').slice(0, 16),
    },
    ...(isRight !== null && { password: { kind: isRight ? 'right' : 'wrong' } }),
    nowMs: Date.now(),
    codesNotBeforeMs: disasterAtMs,
  };
}

const DENIED: AgentAnswer = { ok: false, code: 'denied' };
const BUSY: AgentAnswer = { ok: false, code: 'busy', detail: 'too many sign-ins under way' };
const NO_QUORUM: AgentAnswer = {
  ok: false,
  code: 'no_quorum',
  detail: 'the log does not answer, so no administrator can sign in: use the socket of the node',
};
